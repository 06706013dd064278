import pytest
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from torch.utils.data import ConcatDataset

from codequarry.modules.one_task_per_batch import OneTaskPerBatch

BATCH = 8


def source(name: str, pairs: int, distinct: int) -> Dataset:
    return Dataset.from_dict(
        {
            "query": [f"{name} query {n % distinct}" for n in range(pairs)],
            "document": [f"{name} document {n}" for n in range(pairs)],
        }
    )


def steps(ranks: int, epoch: int = 0, shares: list[float] | None = None) -> list[list[list[dict[str, str]]]]:
    """For each optimiser step the rows of every rank."""
    joined = ConcatDataset([source("a", 100, 100), source("b", 60, 13), source("c", 24, 24)])
    generator = torch.Generator()
    samplers = [
        NoDuplicatesBatchSampler(one, BATCH, True, generator=generator, seed=1) for one in joined.datasets
    ]
    sampler = OneTaskPerBatch(joined, samplers, generator, 1, ranks, shares)
    sampler.set_epoch(epoch)
    batches = [[joined[index] for index in batch] for batch in sampler]
    assert all(len(batch) == BATCH // ranks == sampler.batch_size for batch in batches)
    return [batches[start : start + ranks] for start in range(0, len(batches), ranks)]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_step_holds_one_source_on_every_rank_and_no_text_twice(ranks: int) -> None:
    found = steps(ranks)
    assert len({row["query"][0] for step in found for rank in step for row in rank}) == 3, (
        "every source is drawn"
    )
    for step in found:
        rows = [row for rank in step for row in rank]
        assert len({row["query"][0] for row in rows}) == 1
        texts = [text for row in rows for text in row.values()]
        assert len(set(texts)) == len(texts)


def test_the_global_batches_do_not_depend_on_the_number_of_ranks() -> None:
    one = [[row for rank in step for row in rank] for step in steps(1)]
    four = [[row for rank in step for row in rank] for step in steps(4)]
    assert one == four


def test_each_epoch_has_its_own_order_and_the_same_epoch_the_same() -> None:
    assert steps(2, epoch=1) == steps(2, epoch=1)
    assert steps(2, epoch=1) != steps(2, epoch=2)


@pytest.mark.parametrize("shares", [[0.2, 0.2, 0.6], [0.9, 0.05, 0.05], [0, 0, 1]])
def test_each_source_gets_its_share_of_the_batches(shares: list[float]) -> None:
    found = steps(2, shares=shares)
    assert len(found) == len(steps(2)), "an epoch stays as long as all sources together"
    for name, share in zip("abc", shares, strict=True):
        drawn = sum(step[0][0]["query"].startswith(name) for step in found)
        assert abs(drawn - share * len(found)) < 1


def test_a_source_that_is_used_up_begins_anew_in_another_order_and_without_doubles() -> None:
    found = [[row["query"] for rank in step for row in rank] for step in steps(1, shares=[0, 0, 1])]
    rounds = [found[start : start + 3] for start in range(0, len(found) - 2, 3)]
    assert len(rounds) > 5
    for one in rounds:
        assert len({query for batch in one for query in batch}) == 24, "every pair once before any twice"
    assert len({str(one) for one in rounds}) == len(rounds)
    assert all(len(set(batch)) == len(batch) for batch in found)


def test_a_source_that_cannot_fill_one_batch_is_passed_over() -> None:
    joined = ConcatDataset([source("a", 40, 40), source("b", 40, 3)])
    generator = torch.Generator()
    samplers = [
        NoDuplicatesBatchSampler(one, BATCH, True, generator=generator, seed=1) for one in joined.datasets
    ]
    sampler = OneTaskPerBatch(joined, samplers, generator, 1, 1, [0.5, 0.5])
    batches = [[joined[index] for index in batch] for batch in sampler]
    assert len(batches) == 5
    assert {row["query"][0] for batch in batches for row in batch} == {"a"}
