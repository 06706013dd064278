"""The pairs, the backbone and the recipe that every timed trainer is given."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codequarry.benchmarks.timed_trainer import Lengths
from codequarry.data.catalog.registry import known_licences
from codequarry.data.mixture import batch_shares, part_of, select
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.recipes.schema import Recipe

_SPARE = 4  # batches a part brings for each one drawn: rows that share a text cannot be in one batch

_TOKENIZER_PAIRS = 20_000  # that a tokenizer is trained on

_CHARACTERS = 16  # a token of the longest texts, so that none is shorter than the limit

# What decides the work of a step. The rest of a recipe is left at its plain values: one InfoNCE, all weights
# trained, nothing validated.
_FIELDS = (
    "name", "pooling", "max_length", "matryoshka_dims", "batch_size", "learning_rate", "temperature",
    "mini_batch_tokens", "warmup_ratio", "scheduler", "weight_decay", "max_grad_norm", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """Pairs for some steps. parts: steps by `source:task`."""

    pairs: list[Pair]
    parts: dict[str, int]


def drawn(pairs: Sequence[Pair], recipe: Recipe, steps: int, lengths: Lengths = "real") -> Sample:
    """Pairs for so many steps, each from one source and task, drawn as the recipe's mixture draws them.

    Arguments:
        pairs: all there are; mined negatives are left out, so that a pair is two texts.
        recipe: batch size, `mixture_exponent`, `source_weights`, licences and seed are its.
        steps: optimiser steps.
        lengths: `real`, or `longest`: every text repeated until it is longer than `max_length` tokens.

    Raises ValueError where no source and task fills a batch, or weights leave none.
    """
    allowed, _ = select(pairs, licences=known_licences(), allowed=recipe.licences)
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in allowed:
        groups[part_of(pair)].append(pair)
    sizes = {part: len(group) for part, group in sorted(groups.items()) if len(group) >= recipe.batch_size}
    if not sizes:
        raise ValueError(
            f"no source and task among {len(allowed):,} pairs fills one batch of {recipe.batch_size}: pass "
            "more of them with --data."
        )
    shares = batch_shares(sizes, recipe.mixture_exponent, recipe.source_weights)
    chance = random.Random(recipe.seed)
    parts = Counter(chance.choices(list(shares), weights=list(shares.values()), k=steps))
    found = []
    for part, count in sorted(parts.items()):
        wanted = min(sizes[part], _SPARE * count * recipe.batch_size)
        found += [replace(pair, negatives=()) for pair in chance.sample(groups[part], wanted)]
    if lengths == "longest":
        found = [_lengthened(pair, recipe.max_length) for pair in found]
    return Sample(found, dict(parts))


def write_backbone(folder: Path, recipe: Recipe, pairs: Sequence[Pair], tokenizer: str | None) -> Path:
    """A folder with the weights that the recipe begins with: its own, or random ones written to `folder`.

    Arguments: `tokenizer`, the folder of one that fits random weights; None trains one on some of `pairs`.
    """
    from codequarry.modules.backbone import resolve_backbone
    from codequarry.modules.random_backbone import read_tokenizer, train_tokenizer, write_random_backbone

    shape = recipe.backbone.shape
    if shape is None:
        return resolve_backbone(recipe.backbone.name, revision=recipe.backbone.revision)
    some = random.Random(recipe.seed).sample(pairs, min(len(pairs), _TOKENIZER_PAIRS))
    known = (
        read_tokenizer(tokenizer)
        if tokenizer is not None
        else train_tokenizer(
            (text for pair in some for text in (pair.query, pair.document)), shape.vocabulary
        )
    )
    return write_random_backbone(folder, shape, known, seed=recipe.seed, as_bag_of_words=True)


def write_cut_recipe(folder: Path, recipe: Recipe, sample: Sample, backbone: Path) -> Path:
    """Write `sample` and a recipe that trains on it, from `backbone`, for its steps; returns that file."""
    data = folder / "pairs.jsonl"
    write_pairs(data, sample.pairs)
    chosen = {name: value for name, value in asdict(recipe).items() if name in _FIELDS}
    chosen |= {"data": str(data), "max_steps": sum(sample.parts.values()), "mixture_exponent": 0.0}
    lines = [f"{name} = {json.dumps(value)}" for name, value in chosen.items()]
    lines += ["[backbone]", f"name = {json.dumps(str(backbone))}", "[source_weights]"]
    lines += [f"{json.dumps(part)} = {float(count)}" for part, count in sorted(sample.parts.items())]
    file = folder / f"{recipe.name}.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _lengthened(pair: Pair, max_length: int) -> Pair:
    def repeated(text: str) -> str:
        return f"{text}\n" * (_CHARACTERS * max_length // (len(text) + 1) + 1)

    return replace(pair, query=repeated(pair.query), document=repeated(pair.document))
