"""The objective against the same written naively, in one process and in two."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from naive_objective import FULL, Combination, Naive, TinyModel, batch, check, combinations, pairwise
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)
from torch import Tensor, nn

from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.losses.contrastive import Objective
from codequarry.modules.losses.grad_cache import _mini_batches

EVERYTHING = Combination(
    directions=("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"),
    hardness="all_negatives",
    hardness_strength=3.0,
    dims=(FULL, 3),
    spread_out=0.7,
    matching=0.5,
    same_query=True,
    same_document=True,
    margin=0.05,
)


def objective(model: nn.Module, chosen: Combination, **more: Any) -> Objective:
    return Objective(
        model, **{"mini_batch_tokens": 18, "grad_cache_threshold": 0, **chosen.arguments(), **more}
    )


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.fixture(scope="module", params=[2, 3], ids=["2_columns", "3_columns"])
def naive(request: pytest.FixtureRequest) -> Naive:
    return Naive(TinyModel(), batch(request.param))


WALKS = pytest.mark.parametrize(
    "walked",
    [
        pytest.param(pairwise(combinations()), id="pairwise"),
        pytest.param(combinations(), id="every", marks=pytest.mark.exhaustive),
    ],
)


@WALKS
@pytest.mark.parametrize("grad_cache_threshold", [0, None], ids=["grad_cache", "one_graph"])
def test_every_combination_has_the_loss_and_gradient_of_one_big_batch(
    naive: Naive, grad_cache_threshold: int | None, walked: list[Combination]
) -> None:
    for chosen in walked:
        value = objective(naive.model, chosen, grad_cache_threshold=grad_cache_threshold)(naive.features)
        check(value, gradients(naive.model, value), naive(chosen), chosen)


def test_every_two_settings_that_occur_together_are_walked_together() -> None:
    every, few = combinations(), pairwise(combinations())
    assert len(every) == len(set(every)) == 10 * 4 * 4 * 8
    assert set(few) <= set(every)

    def together(found: list[Combination]) -> set[Any]:
        return {pair for one in found for pair in permutations(asdict(one).items(), 2)}

    assert together(few) == together(every)


@WALKS
def test_two_real_ranks_have_the_gradient_of_one_big_batch(walked: list[Combination]) -> None:
    script = Path(__file__).with_name("two_ranks.py")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    words += ["every"] * (len(walked) == len(combinations()))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    compared = 960 if len(walked) == len(combinations()) else 12 * ((len(walked) + 1) // 2)
    assert sorted(result.stdout.splitlines()) == [f"rank {rank}: {compared} combinations" for rank in (0, 1)]


@pytest.mark.parametrize(
    "off",
    [
        {"directions": ("query_to_doc",)},
        {"hardness": "none", "hardness_strength": 0.0},
        {"hardness": "in_batch_negatives"},
        {"dims": (FULL,)},
        {"spread_out": 0.0},
        {"matching": None},
        {"same_query": False},
        {"same_document": False},
        {"margin": None},
    ],
    ids=lambda off: "-".join(off),
)
def test_every_option_changes_the_loss_of_the_batch_compared(off: dict[str, Any]) -> None:
    model, features = TinyModel(), batch(3)
    with torch.no_grad():
        losses = [objective(model, chosen)(features) for chosen in (EVERYTHING, replace(EVERYTHING, **off))]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_a_margin_alone_has_the_loss_and_gradient_of_one_big_batch() -> None:
    model, features = TinyModel(), batch(3)
    for margin in (-0.3, -0.1, 0.01, 0.1):
        chosen = replace(EVERYTHING, same_query=False, same_document=False, margin=margin)
        loss = objective(model, chosen)(features)
        check(loss, gradients(model, loss), Naive(model, features)(chosen), chosen)


@pytest.fixture(scope="module")
def decoder(small_decoder: Path) -> CodeEmbedder:
    model = build_model(str(small_decoder), max_length=48, device="cpu").double()
    model.eval()
    return model


def texts(model: CodeEmbedder, columns: int = 3) -> list[dict[str, Any]]:
    words = ["sort", "a list of numbers in place", "def f(x):", "parse", "x" * 40, "open the file and read"]
    columns_of_texts = [[f"{word} {column}" for word in words] for column in range(columns)]
    torch.manual_seed(5)
    return [
        dict(model.preprocess(column))
        | {
            "text_id": torch.tensor([0, 1, 2, 0, 4, 5]) + 100 * number,
            "teacher": torch.randn(6, 64, dtype=torch.float64),
        }
        for number, column in enumerate(columns_of_texts)
    ]


@pytest.mark.parametrize("grad_cache_threshold", [0, 150, None], ids=["grad_cache", "in_part", "one_graph"])
def test_a_real_decoder_has_the_gradient_of_one_big_batch(
    decoder: CodeEmbedder, grad_cache_threshold: int | None
) -> None:
    features = texts(decoder)
    plain = objective(
        decoder, EVERYTHING, dims=(64, 16), mini_batch_tokens=10_000, grad_cache_threshold=None, margin=None
    )
    expected = plain(features)
    expected_gradients = gradients(decoder, expected)
    loss = objective(
        decoder,
        EVERYTHING,
        dims=(64, 16),
        mini_batch_tokens=40,
        grad_cache_threshold=grad_cache_threshold,
        margin=None,
    )
    value = loss(features)
    check(
        value.detach(),
        gradients(decoder, value),
        (expected.detach(), expected_gradients),
        grad_cache_threshold,
    )


def test_without_masks_and_further_terms_it_is_the_stock_composition(decoder: CodeEmbedder) -> None:
    features = texts(decoder)
    chosen = Combination(directions=("query_to_doc", "doc_to_query"), partition="per_direction")
    for hardness, strength in (("none", 0.0), ("hard_negatives", 5.0)):
        stock = CachedMultipleNegativesRankingLoss(
            decoder,
            scale=5.0,
            mini_batch_num_tokens=40,
            directions=chosen.directions,
            partition_mode="per_direction",
            hardness_mode=None if hardness == "none" else hardness,
            hardness_strength=strength,
        )
        bare = [{name: column[name] for name in ("input_ids", "attention_mask")} for column in features]
        expected = MatryoshkaLoss(decoder, stock, [64, 16])(bare, None)
        known = (expected.detach(), gradients(decoder, expected))
        ours = objective(
            decoder, replace(chosen, hardness=hardness, hardness_strength=strength, dims=(64, 16))
        )(features)
        check(ours.detach(), gradients(decoder, ours), known, hardness)


def test_as_many_mini_batches_as_fit_are_embedded_once_and_the_last_never() -> None:
    features = batch(2)
    expected = objective(TinyModel(), EVERYTHING, grad_cache_threshold=None)(features)
    found = []
    for grad_cache_threshold in (0, 20, 40, 10_000):
        model = Watched(double=True)
        loss = objective(model, EVERYTHING, grad_cache_threshold=grad_cache_threshold)
        value = loss(features)
        value.backward()
        torch.testing.assert_close(value.detach(), expected.detach())
        with_gradient = [grad for grad, _ in model.seen]
        found.append((len(with_gradient), sum(with_gradient)))
    batches = found[-1][0]
    assert found[-1] == (batches, batches)  # all of it fits
    assert found[0] == (2 * batches, batches)
    assert [passes for passes, _ in found] == sorted((passes for passes, _ in found), reverse=True)
    assert all(grad == batches for _, grad in found)
    assert batches < found[1][0] < 2 * batches


def test_a_long_text_among_short_ones_goes_with_few_of_them() -> None:
    """What attention computes, texts x longest, is bounded by the mini-batch too."""
    lengths = torch.tensor([90, *[5] * 40])
    bounds = torch.cat([torch.tensor([0]), lengths.cumsum(0)])
    found = list(_mini_batches(0, {"cu_seq_lens_q": bounds}, 100))
    assert [(batch.begin, batch.end) for batch in found] == [(0, 1), (1, 21), (21, 41)]
    assert sum(batch.tokens for batch in found) == lengths.sum()
    assert all((batch.end - batch.begin) * max(lengths[batch.begin : batch.end]) <= 100 for batch in found)


def test_columns_in_any_order_of_their_own_have_the_loss_and_gradient_of_their_pairs() -> None:
    model, features = TinyModel(), batch(3)
    expected = Naive(model, features)(EVERYTHING)
    draw = torch.Generator().manual_seed(4)
    shuffled = []
    for column in features:
        order = torch.randperm(6, generator=draw)
        moved = {name: column[name][order] for name in ("input_ids", "attention_mask")}
        shuffled.append(column | moved | {"place": order.argsort()})
    for grad_cache_threshold in (0, 30, None):
        loss = objective(model, EVERYTHING, grad_cache_threshold=grad_cache_threshold)(shuffled)
        check(loss, gradients(model, loss), expected, grad_cache_threshold)


def test_dropout_is_drawn_once_for_both_passes() -> None:
    class Dropping(TinyModel):
        def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
            vectors = super().forward(features)["sentence_embedding"]
            return {"sentence_embedding": nn.functional.dropout(vectors, 0.3)}

    found = []
    for grad_cache_threshold in (0, 25, None):
        model = Dropping()
        torch.manual_seed(8)
        loss = objective(model, EVERYTHING, grad_cache_threshold=grad_cache_threshold)(batch(3))
        torch.rand(3)  # what draws in between must not matter
        found.append((loss.detach(), gradients(model, loss)))
    check(*found[0], found[2], "dropout")
    check(*found[1], found[2], "dropout, in part")


def test_evaluation_gives_the_same_number_and_no_gradient() -> None:
    model, features = TinyModel(), batch(3)
    expected = Naive(model, features)(EVERYTHING)[0]
    for grad_cache_threshold in (0, None):
        loss = objective(model, EVERYTHING, grad_cache_threshold=grad_cache_threshold).eval()
        with torch.no_grad():
            value = loss(features)
        assert not value.requires_grad
        torch.testing.assert_close(value, expected)


class Watched(TinyModel):
    """In float32 unless asked otherwise, with the precision of every hidden state written down."""

    def __init__(self, double: bool = False) -> None:
        super().__init__()
        if not double:
            self.float()
        self.seen: list[tuple[bool, torch.dtype]] = []

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        found = super().forward(features)
        self.seen.append((torch.is_grad_enabled(), found["sentence_embedding"].dtype))
        return found


@pytest.mark.parametrize("backward_inside", [False, True], ids=["backward_outside", "backward_inside"])
def test_both_passes_of_the_cache_compute_in_the_precision_of_the_step(backward_inside: bool) -> None:
    found = []
    for grad_cache_threshold in (0, None):
        model = Watched()
        with torch.autocast("cpu", torch.bfloat16):
            chosen = objective(model, EVERYTHING, margin=None, grad_cache_threshold=grad_cache_threshold)
            loss = chosen(batch(3))
            if backward_inside:
                grad = gradients(model, loss)
        if not backward_inside:
            grad = gradients(model, loss)
        assert {dtype for _, dtype in model.seen} == {torch.bfloat16}
        assert {with_gradient for with_gradient, _ in model.seen} == (
            {False, True} if grad_cache_threshold == 0 else {True}
        )
        assert len(grad) == 3
        assert {term.dtype for term in chosen.last_terms.values()} == {torch.float32}
        found.append((loss.detach(), grad))
    assert found[0][0] == found[1][0]
    for cached, plain in zip(found[0][1], found[1][1], strict=True):
        assert (cached - plain).norm() < 0.03 * plain.norm()  # sums over mini-batches, rounded to bfloat16


def test_outside_autocast_the_second_pass_is_in_float32_even_when_the_backward_pass_is_not() -> None:
    model = Watched()
    loss = objective(model, EVERYTHING, margin=None)(batch(3))
    with torch.autocast("cpu", torch.bfloat16):
        loss.backward()
    assert {dtype for _, dtype in model.seen} == {torch.float32}


def test_under_autocast_the_loss_itself_is_computed_in_float32() -> None:
    loss = objective(TinyModel(), EVERYTHING, margin=None)
    torch.manual_seed(2)
    columns = [torch.randn(6, FULL) for _ in range(3)]
    known = tuple([column[name] for column in batch(3)] for name in ("text_id", "teacher"))
    expected = loss.loss_from_embeddings([column.double() for column in columns], known)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss.loss_from_embeddings(columns, known)
    assert found.dtype == torch.float32
    assert abs(found - expected) < 1e-6 * expected


def test_the_terms_of_the_last_loss_sum_to_it() -> None:
    loss = objective(TinyModel(), EVERYTHING)
    value = loss(batch(3))
    assert set(loss.last_terms) == {"info_nce", "spread_out", "matching"}
    torch.testing.assert_close(sum(loss.last_terms.values()), value.detach())
    loss = objective(TinyModel(), Combination())
    value = loss(batch(3))
    assert loss.last_terms == {"info_nce": value.detach()}


def test_the_matching_weight_goes_straight_from_start_to_end() -> None:
    model, features = TinyModel(), batch(2)
    loss = objective(model, Combination(matching=2.0), final_matching=0.5)
    terms = []
    for progress in (0.0, 0.5, 1.0):
        loss.progress = progress
        loss(features)
        terms.append(loss.last_terms["matching"])
    torch.testing.assert_close(terms[1] / terms[0], torch.tensor(1.25 / 2, dtype=torch.float64))
    torch.testing.assert_close(terms[2] / terms[0], torch.tensor(0.5 / 2, dtype=torch.float64))


def test_the_batch_is_left_as_it_was() -> None:
    features = batch(3)
    before = [dict(column) for column in features]
    objective(TinyModel(), EVERYTHING)(features).backward()
    assert [list(column) for column in features] == [list(column) for column in before]
    assert all(
        value is old[name]
        for column, old in zip(features, before, strict=True)
        for name, value in column.items()
    )


def test_the_trainer_can_put_its_wrapper_in_the_models_place(decoder: CodeEmbedder) -> None:
    class Wrapper(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.module = decoder

        def forward(self, features: dict[str, Any]) -> Any:
            Wrapper.calls += 1
            return self.module(features)

    loss = objective(decoder, Combination(dims=(64, 16)))
    trainer = object.__new__(SentenceTransformerTrainer)
    wrapped = trainer.override_model_in_loss(loss, Wrapper())
    wrapped(texts(decoder)).backward()
    assert Wrapper.calls >= 6, "three columns, twice"


@pytest.mark.parametrize(
    ("chosen", "columns", "without", "sentence"),
    [
        (Combination(same_query=True), 2, "text_id", "column 1 of the batch brings no 'text_id'; same_query"),
        (Combination(matching=1.0), 2, "teacher", "column 1 of the batch brings no 'teacher'; matching"),
        (Combination(), 1, "text_id", "1 column of texts: at least a query and a document"),
    ],
)
def test_a_batch_that_lacks_something_is_refused_by_name(
    chosen: Combination, columns: int, without: str, sentence: str
) -> None:
    features = batch(2)[:columns]
    del features[-1][without]
    with pytest.raises(ValueError, match=sentence):
        objective(TinyModel(), chosen)(features)


def test_a_teacher_of_another_size_is_refused_with_both_sizes() -> None:
    features = [column | {"teacher": column["teacher"][:, :5]} for column in batch(2)]
    with pytest.raises(ValueError, match="vectors have 5 dimensions and the model's 8"):
        objective(TinyModel(), Combination(matching=1.0))(features)


def test_a_mini_batch_of_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="mini_batch_tokens = 0: at least 1"):
        objective(TinyModel(), Combination(), mini_batch_tokens=0)


def test_a_batch_of_more_tokens_than_fit_is_embedded_twice(decoder: CodeEmbedder) -> None:
    features = texts(decoder)
    tokens = sum(column["input_ids"].numel() for column in features)
    for grad_cache_threshold, twice in ((tokens, False), (tokens - 1, True)):
        chosen = objective(decoder, EVERYTHING, dims=(64, 16), grad_cache_threshold=grad_cache_threshold)
        chosen(texts(decoder)).backward()
        assert chosen.uses_gradient_cache is twice
