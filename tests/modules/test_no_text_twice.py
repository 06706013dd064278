import random
import time
from collections import Counter

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

from codequarry.modules.no_text_twice import NoTextTwice


def random_dataset(seed: int, rows: int, words: int, columns: int) -> Dataset:
    """So few different texts that most stand in several rows and columns, some in very many."""
    chance = random.Random(seed)
    names = ["query", "document", *(f"negative_{n}" for n in range(1, columns - 1))]
    return Dataset.from_dict(
        {
            name: [
                f"text {chance.randrange(chance.choice((words, words, words // 20)))}" for _ in range(rows)
            ]
            for name in names
        }
    )


def batches(dataset: Dataset, size: int, epoch: int = 0, seed: int = 1) -> list[list[int]]:
    sampler = NoTextTwice(dataset, size, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("columns", [2, 3, 5])
@pytest.mark.parametrize("seed", range(8))
def test_no_text_stands_in_two_rows_of_a_batch_and_no_row_in_two_batches(seed: int, columns: int) -> None:
    dataset = random_dataset(seed, 400, 300, columns)
    found = batches(dataset, 8)
    assert found
    rows = [row for batch in found for row in batch]
    assert len(set(rows)) == len(rows)
    for batch in found:
        assert len(batch) == 8
        counts = Counter(text for row in batch for text in set(dataset[row].values()))
        assert max(counts.values()) == 1


@pytest.mark.parametrize("seed", range(4))
def test_as_many_batches_are_filled_as_by_sentence_transformers(seed: int) -> None:
    dataset = random_dataset(seed, 600, 500, 2)
    texts = [set(row.values()) for row in dataset]
    theirs = NoDuplicatesBatchSampler(dataset, 8, True, generator=torch.Generator(), seed=1)
    one_pass = theirs._iter_one_pass(texts.__getitem__, lambda one, batch: not one.isdisjoint(batch))
    assert len(batches(dataset, 8)) >= 0.95 * len(list(one_pass)) > 30


def test_without_doubles_every_row_is_drawn_once_but_for_the_last_that_fill_no_batch() -> None:
    dataset = Dataset.from_dict(
        {"query": [f"q{n}" for n in range(50)], "document": [f"d{n}" for n in range(50)]}
    )
    found = batches(dataset, 8)
    assert len(found) == len(NoTextTwice(dataset, 8)) == 6
    assert len({row for batch in found for row in batch}) == 48


def test_a_query_that_is_its_own_document_is_no_double() -> None:
    texts = [f"t{n}" for n in range(16)]
    assert len(batches(Dataset.from_dict({"query": texts, "document": texts}), 8)) == 2


def test_rows_of_a_text_that_all_share_are_dealt_out_one_a_batch() -> None:
    rows = {
        "query": ["the same"] * 20 + [f"q{n}" for n in range(70)],
        "document": [f"d{n}" for n in range(90)],
    }
    found = batches(Dataset.from_dict(rows), 8)
    assert len(found) >= 9, "of ten, one for each seven others"
    assert all(sum(row < 20 for row in batch) == 1 for batch in found[1:])
    assert sum(row < 20 for row in found[0]) <= 1


def test_fewer_different_queries_than_rows_in_a_batch_give_none() -> None:
    rows = {"query": [f"q{n % 7}" for n in range(100)], "document": [f"d{n}" for n in range(100)]}
    assert batches(Dataset.from_dict(rows), 8) == []


def test_the_order_is_that_of_seed_and_epoch_whatever_stands_in_front_of_the_dataset() -> None:
    dataset = random_dataset(3, 400, 300, 2)
    assert batches(dataset, 8, epoch=2) == batches(dataset, 8, epoch=2)
    assert batches(dataset, 8, epoch=2) != batches(dataset, 8, epoch=3)
    assert batches(dataset, 8, seed=1) != batches(dataset, 8, seed=2)
    wanted = batches(dataset, 8)
    named = dataset.with_transform(lambda rows: rows | {"dataset_name": ["same"] * len(rows["query"])})
    assert batches(named, 8) == wanted, "the trainer's name of the source is no text"
    shuffled = dataset.select(np.random.default_rng(1).permutation(400))
    texts = [shuffled[row] for row in batches(shuffled, 8)[0]]
    assert len({text for row in texts for text in set(row.values())}) == sum(
        len(set(row.values())) for row in texts
    ), "indices are those of the dataset as it is seen"


def test_a_batch_takes_no_longer_where_nearly_all_rows_wait() -> None:
    rows = 60_000
    half = rows // 2
    heavy = {
        "query": [f"heavy {n % 40}" if n < half else f"q{n}" for n in range(rows)],
        "document": [f"d{n}" for n in range(rows)],
    }
    sampler = iter(NoTextTwice(Dataset.from_dict(heavy), 64))
    next(sampler)
    started = time.process_time()
    for _ in range(300):
        next(sampler)
    assert (time.process_time() - started) / 300 < 0.002, (
        "a scan of all that wait would take several times that"
    )
