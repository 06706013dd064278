"""The objective written a second time, as literally as its definition: one big batch, plain autograd.

Nothing of sentence-transformers and nothing of `modules/losses` is used here, and nothing is fast.
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

DIRECTIONS = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
FULL, TEMPERATURE = 8, 0.2


@dataclass(frozen=True)
class Combination:
    """One choice of everything that can be chosen, under the names of `Objective`'s arguments."""

    directions: tuple[str, ...] = ("query_to_doc",)
    partition: str = "joint"
    hardness: str = "none"
    hardness_strength: float = 0.0
    dims: tuple[int, ...] = (FULL,)
    spread_out: float = 0.0
    matching: float | None = None
    same_query: bool = False
    same_document: bool = False
    margin: float | None = None

    def arguments(self) -> dict[str, Any]:
        return asdict(self) | {"temperature": TEMPERATURE}


MASKS: tuple[dict[str, Any], ...] = (
    {},
    {"same_query": True},
    {"same_document": True},
    {"same_query": True, "same_document": True, "margin": 0.05},
)


def softmaxes() -> list[Combination]:
    """Every supported choice of directions, partition and hardness."""
    subsets = [
        ("query_to_doc", *(name for name, taken in zip(DIRECTIONS[1:], choice, strict=True) if taken))
        for choice in product((False, True), repeat=3)
    ]
    found = [(names, "joint") for names in subsets]
    found += [(names, "per_direction") for names in subsets if set(names) <= {"query_to_doc", "doc_to_query"}]
    hardness = ("none", "in_batch_negatives", "hard_negatives", "all_negatives")
    return [
        Combination(names, partition, mode, 0.0 if mode == "none" else 3.0)
        for (names, partition), mode in product(found, hardness)
    ]


def additions() -> list[dict[str, Any]]:
    """Matryoshka sizes, spread-out term and matching, each on and off."""
    return [
        {"dims": dims, "spread_out": spread_out, "matching": matching}
        for dims, spread_out, matching in product(((FULL,), (FULL, 3)), (0.0, 0.7), (None, 0.5))
    ]


def combinations() -> list[Combination]:
    """Every supported combination."""
    return [replace(base, **mask, **added) for base, mask, added in product(softmaxes(), MASKS, additions())]


def pairwise(found: Sequence[Combination]) -> list[Combination]:
    """Few of them in which every two values of two fields that occur together in one occur together again."""

    number: dict[tuple[Any, ...], int] = {}

    def bits(one: Combination) -> int:
        pairs = itertools.combinations(asdict(one).items(), 2)
        return sum(1 << number.setdefault(pair, len(number)) for pair in pairs)

    missing = [bits(one) for one in found]
    chosen: list[Combination] = []
    while any(missing):
        best = max(range(len(found)), key=lambda place: missing[place].bit_count())
        chosen.append(found[best])
        covered = missing[best]
        missing = [rest & ~covered for rest in missing]
    return chosen


class TinyModel(nn.Module):
    """A bag of token vectors and a linear layer in float64, with a buffer, as real models have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.tokens = nn.Embedding(30, 5)
        self.out = nn.Linear(5, FULL)
        self.register_buffer("unused", torch.zeros(1))
        self.double()
        nn.init.normal_(self.out.bias)  # a common direction, so that the spread-out term has work

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        assert not {"text_id", "teacher"} & set(features), "the model was shown what is not for it"
        mask = features["attention_mask"].unsqueeze(-1)
        bag = (self.tokens(features["input_ids"]) * mask).sum(1) / mask.sum(1)
        return {"sentence_embedding": self.out(bag)}


def batch(columns: int, pairs: int = 6) -> list[dict[str, Tensor]]:
    """Texts of 1 to 7 tokens. Pairs 0 and 3 ask the same; 1, 4 and a mined negative of 2 answer the same.

    Further, pair 2's document is right for the query of 0 and 3 by a third pair, 5, with that query.
    """
    torch.manual_seed(11)
    features = []
    for column in range(columns):
        lengths = torch.randint(1, 8, (pairs, 1))
        features.append(
            {
                "input_ids": torch.randint(0, 30, (pairs, 7)),
                "attention_mask": (torch.arange(7) < lengths).long(),
                "text_id": torch.arange(pairs) + 100 * column,
                "teacher": torch.randn(pairs, FULL, dtype=torch.float64),
            }
        )

    def equal(column: int, pair: int, to_column: int, to_pair: int) -> None:
        for name in ("input_ids", "attention_mask", "text_id"):
            features[column][name][pair] = features[to_column][name][to_pair]

    equal(0, 3, 0, 0)
    equal(1, 4, 1, 1)
    equal(0, 5, 0, 0)
    equal(1, 5, 1, 2)
    if columns > 2:
        equal(2, 2, 1, 1)
    return features


def embed(model: nn.Module, features: list[dict[str, Any]]) -> list[Tensor]:
    ours = ("text_id", "teacher")
    return [
        model({name: value for name, value in column.items() if name not in ours})["sentence_embedding"]
        for column in features
    ]


def naive_info_nce(columns: list[Tensor], text_ids: list[Tensor], chosen: Combination) -> Tensor:
    pairs = len(columns[0])
    query_ids, positive_ids = text_ids[0].tolist(), text_ids[1].tolist()
    document_ids = [number for ids in text_ids[1:] for number in ids.tolist()]

    def unit(rows: Tensor) -> Tensor:
        return rows / rows.pow(2).sum(1, keepdim=True).sqrt()

    def cosines(dim: int) -> dict[str, Tensor]:
        queries, positives = unit(columns[0][:, :dim]), unit(columns[1][:, :dim])
        documents = torch.cat([unit(column[:, :dim]) for column in columns[1:]])
        sides = {"query": queries, "doc": positives}
        return {
            name: sides[name.split("_")[0]] @ (documents if name.endswith("doc") else queries).T
            for name in chosen.directions
        }

    full = {name: matrix.tolist() for name, matrix in cosines(FULL).items()}

    def right(query: int, document: int) -> bool:
        return any(
            (query_ids[j] == query_ids[query] if chosen.same_query else j == query)
            and (positive_ids[j] == document_ids[document] if chosen.same_document else j == document)
            for j in range(pairs)
        )

    def takes_part(name: str, i: int, k: int) -> bool:
        if name == "query_to_query" and k == i:
            return False
        if name == "doc_to_doc" and k % pairs == i:
            return False
        if k == i:
            return True
        if right(i, k) if name.endswith("doc") else right(k, i):
            return False
        positive = full["query_to_doc"][i][i]
        return chosen.margin is None or full[name][i][k] <= positive - chosen.margin

    def weighs_more(i: int, k: int) -> bool:
        own_negative, other = k >= pairs and k % pairs == i, k % pairs != i
        return {
            "none": False,
            "in_batch_negatives": other,
            "hard_negatives": own_negative,
            "all_negatives": other or own_negative,
        }[chosen.hardness]

    total = torch.zeros((), dtype=torch.float64)
    rows = {
        (name, i): [k for k in range(len(full[name][i])) if takes_part(name, i, k)]
        for name in chosen.directions
        for i in range(pairs)
    }
    raised = {
        (i, k): chosen.hardness_strength * weighs_more(i, k)
        for i in range(pairs)
        for k in range(len(document_ids))
    }
    for dim in chosen.dims:
        at = cosines(dim)
        for i in range(pairs):
            logits = {}
            for name in chosen.directions:
                cosine = at[name][i][rows[name, i]]
                logits[name] = cosine / TEMPERATURE
                if name == "query_to_doc":
                    strength = torch.tensor([raised[i, k] for k in rows[name, i]], dtype=torch.float64)
                    logits[name] = logits[name] + strength * cosine.detach()
            if chosen.partition == "joint":
                denominator = torch.cat(list(logits.values())).exp().sum().log()
            else:
                denominator = sum(part.exp().sum().log() for part in logits.values()) / len(logits)
            total = total + (denominator - at["query_to_doc"][i, i] / TEMPERATURE) / pairs
    return total


def naive_spread_out(columns: list[Tensor], dims: tuple[int, ...]) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for dim in dims:
        for column in columns[:2]:
            unit = column[:, :dim] / column[:, :dim].norm(dim=1, keepdim=True)
            others = ~torch.eye(len(unit), dtype=torch.bool)
            second_moment = (unit @ unit.T)[others].pow(2).mean()
            assert second_moment > 1 / dim, "at rest: the test would compare zeros"
            total = total + second_moment - 1 / dim
    return total


def naive_matching(columns: list[Tensor], teachers: list[Tensor]) -> Tensor:
    cosines = [
        (column * teacher).sum(1) / column.norm(dim=1) / teacher.norm(dim=1)
        for column, teacher in zip(columns, teachers, strict=True)
    ]
    return 1 - torch.stack(cosines).mean()


Known = tuple[Tensor, list[Tensor]]


class Naive:
    """Loss and gradients of a combination, its three terms kept: each is asked for many times."""

    def __init__(self, model: nn.Module, features: list[dict[str, Any]]) -> None:
        self.model, self.features = model, features
        self.kept: dict[Any, Known] = {}

    def __call__(self, chosen: Combination) -> Known:
        ids = [column["text_id"] for column in self.features]
        teachers = [column["teacher"] for column in self.features]
        contrastive = replace(chosen, spread_out=0.0, matching=None)
        terms = [(1.0, self._term(contrastive, lambda columns: naive_info_nce(columns, ids, chosen)))]
        if chosen.spread_out:
            term = self._term(("spread", chosen.dims), lambda columns: naive_spread_out(columns, chosen.dims))
            terms.append((chosen.spread_out, term))
        if chosen.matching:
            term = self._term("matching", lambda columns: naive_matching(columns, teachers))
            terms.append((chosen.matching, term))
        loss = sum(weight * term[0] for weight, term in terms)
        gradients = [
            sum(weight * part for (weight, _), part in zip(terms, parts, strict=True))
            for parts in zip(*(term[1] for _, term in terms), strict=True)
        ]
        return loss, gradients

    def _term(self, key: Any, of: Any) -> Known:
        if key not in self.kept:
            loss = of(embed(self.model, self.features))
            gradients = torch.autograd.grad(loss, list(self.model.parameters()))
            self.kept[key] = loss.detach(), list(gradients)
        return self.kept[key]


def check(loss: Tensor, gradients: list[Tensor], expected: Known, what: object) -> None:
    """Raise unless loss and every gradient are as expected to one part in a million."""
    assert abs(loss - expected[0]) <= 1e-6 * abs(expected[0]), f"loss of {what}: {loss}, not {expected[0]}"
    for found, gradient in zip(gradients, expected[1], strict=True):
        apart = (found - gradient).norm() / gradient.norm()
        assert apart <= 1e-6, f"gradient of {what} is {apart:.1e} apart"
