import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from torch.utils.data import ConcatDataset

from codequarry.common.files import text_ids
from codequarry.training.batch_sampler import NoTextTwice, OneTaskPerBatch


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


BATCH = 8

STEPS = 20  # of the real run


def source(name: str, pairs: int, distinct: int) -> Dataset:
    return Dataset.from_dict(
        {
            "query": [f"{name} query {n % distinct}" for n in range(pairs)],
            "document": [f"{name} document {n}" for n in range(pairs)],
        }
    )


def sampler_of(
    sources: list[Dataset], ranks: int, shares: list[float] | None = None, length: int | None = None
) -> OneTaskPerBatch:
    joined = ConcatDataset(sources)
    samplers = [NoTextTwice(one, BATCH, seed=1) for one in sources]
    return OneTaskPerBatch(joined, samplers, torch.Generator(), 1, ranks, shares, length)


def steps(
    ranks: int, epoch: int = 0, shares: list[float] | None = None, length: int | None = None
) -> list[list[list[dict[str, str]]]]:
    """For each optimiser step the rows of every rank."""
    sampler = sampler_of(
        [source("a", 100, 100), source("b", 60, 13), source("c", 24, 24)], ranks, shares, length
    )
    sampler.set_epoch(epoch)
    batches = [[sampler.dataset[index] for index in batch] for batch in sampler]
    assert len(batches) == len(sampler), "an epoch is as long as it says"
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


@pytest.mark.parametrize("length", [None, 10, 200])
@pytest.mark.parametrize("shares", [[0.2, 0.2, 0.6], [0.9, 0.05, 0.05], [0, 0, 1]])
def test_each_source_gets_its_share_of_the_batches(shares: list[float], length: int | None) -> None:
    found = steps(2, shares=shares, length=length)
    assert len(found) == (length or len(steps(2))), (
        "as long as all sources together, unless a length is given"
    )
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


def test_a_source_with_a_share_that_cannot_fill_a_batch_is_refused_by_name() -> None:
    sources = [source("a", 40, 40), source("b", 40, 3), source("c", 40, 40)]
    samplers = [NoTextTwice(one, BATCH, seed=1) for one in sources]
    generator, shares = torch.Generator(), [0.5, 0.5, 0]
    joined: ConcatDataset[object] = ConcatDataset(sources)
    sampler = OneTaskPerBatch(joined, samplers, generator, 1, 1, shares, names=["a", "b:qa", "c"])
    with pytest.raises(ValueError, match=r"b:qa has no 8 pairs without a text in common.*lower batch"):
        list(sampler)
    without_share = OneTaskPerBatch(joined, samplers, generator, 1, 1, [0.5, 0, 0.5])
    batches = [[sampler.dataset[index] for index in batch] for batch in without_share]
    assert len(batches) == len(without_share) == 15
    assert {row["query"][0] for batch in batches for row in batch} == {"a", "c"}


def test_sources_that_fill_no_batch_at_all_are_refused() -> None:
    sampler = sampler_of([source("a", 40, 3), source("b", 40, 7)], 2)
    with pytest.raises(ValueError, match="has no 8 pairs without a text in common"):
        next(iter(sampler))


def mined(rows: int, negatives: int, hubs: int, seed: int = 0) -> Dataset:
    """Rows whose negatives are other rows' documents, every second one of a few that are near to all."""
    chance = random.Random(seed)
    columns = {"query": [f"q{n}" for n in range(rows)], "document": [f"d{n}" for n in range(rows)]}
    for number in range(negatives):
        most = hubs if number % 2 == 0 else rows
        columns[f"negative_{number + 1}"] = [f"d{chance.randrange(most)}" for _ in range(rows)]
    return Dataset.from_dict(columns)


@pytest.mark.parametrize("negatives", [1, 2, 4, 8])
@pytest.mark.parametrize("hubs", [1, 3, 500])
def test_rows_with_mined_negatives_are_all_drawn_the_hubs_too(negatives: int, hubs: int) -> None:
    dataset = mined(500, negatives, hubs)
    found = list(NoTextTwice(dataset, 64, 1, negatives_repeat=True))
    assert len(found) == 500 // 64
    bare = list(NoTextTwice(dataset.select_columns(["query", "document"]), 64, 1))
    assert found == bare, "negatives change nothing about what is drawn"
    if negatives == 4 and hubs == 1:
        assert not list(NoTextTwice(dataset, 64, 1)), "with every column compared there is no batch"


@pytest.mark.parametrize("seed", range(6))
def test_queries_and_documents_stay_unique_while_negatives_repeat(seed: int) -> None:
    dataset = random_dataset(seed, 400, 300, 4)
    found = list(NoTextTwice(dataset, 8, seed, negatives_repeat=True))
    assert found
    for batch in found:
        rows = [dataset[row] for row in batch]
        counts = Counter(text for row in rows for text in {row["query"], row["document"]})
        assert max(counts.values()) == 1


@pytest.mark.parametrize(
    ("pairs", "queries", "documents", "together"),
    [(100, 100, 100, 8), (100, 5, 100, 5), (100, 100, 1, 1), (6, 6, 6, 6), (100, 8, 100, 8)],
)
def test_how_many_rows_go_together_is_known_from_the_texts(
    pairs: int, queries: int, documents: int, together: int
) -> None:
    rows = {
        "query": [f"q{n % queries}" for n in range(pairs)],
        "document": [f"d{n % documents}" for n in range(pairs)],
    }
    sampler = NoTextTwice(Dataset.from_dict(rows), 8)
    assert sampler.rows_together() == together
    assert bool(list(sampler)) == (together == 8)


def test_many_pairs_that_share_one_text_are_refused_at_once() -> None:
    rows = {"query": [f"q{n}" for n in range(20_000)], "document": ["the same"] * 20_000}
    started = time.process_time()
    assert NoTextTwice(Dataset.from_dict(rows), 64).rows_together() == 1
    assert time.process_time() - started < 2


@pytest.mark.parametrize("length", [None, 7])
@pytest.mark.parametrize("ranks", [1, 2])
def test_drawn_rows_are_those_of_the_epochs_one_after_the_other(ranks: int, length: int | None) -> None:
    sampler = sampler_of([source("a", 100, 100), source("b", 60, 13)], ranks, length=length)
    sampler.set_epoch(5)
    wanted: set[int] = set()
    for taken, epoch in ((len(sampler), 0), (len(sampler), 1), (3 * ranks, 2)):
        sampler.set_epoch(epoch)
        wanted.update(row for batch in list(sampler)[:taken] for row in batch)
    sampler.set_epoch(5)
    before = list(sampler)
    assert sampler.drawn_rows(2 * len(sampler) // ranks + 3) == sorted(wanted)
    assert list(sampler) == before, "the sampler is left as it was"


# -- in a real run ------------------------------------------------------------------------------------------

RUN = """
import json, sys
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from codequarry.modules.build import build_model
from codequarry.training.collator import PairCollator
from codequarry.training.trainer import PairTrainer
from codequarry.training.token_cache import TokenCache

out, backbone, steps = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
model = build_model(backbone, max_length=96, device="cpu")
torch.set_num_threads(1)


def source(name, pairs, columns, distinct):
    rows = {"query": [f"{name} query {n % distinct}" for n in range(pairs)]}
    rows |= {c: [f"{name} {c} {n} {'word ' * (n % 5)}" for n in range(pairs)] for c in columns}
    return Dataset.from_dict(rows)


sources = {
    "large:qa": source("large", 90, ["document"], 90),
    "with negatives:qa": source("three", 37, ["document", "negative_1"], 20),
    "small:code2nl": source("small", 17, ["document"], 17),
}
columns = ("query", "document", "negative_1")
prompts = {name: {column: f"{column}: " for column in columns} for name in sources}


class Loss(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model
        self.ranking = MultipleNegativesRankingLoss(model)

    def forward(self, features, labels):
        for column in features:
            drawn[-1]["ids"] += column.pop("text_id").tolist()
        return self.ranking(features, labels)


class Watched(PairTrainer):
    def compute_loss(self, model, inputs, *args, **kwargs):
        drawn.append({"source": inputs["dataset_name"], "ids": []})
        return super().compute_loss(model, inputs, *args, **kwargs)


drawn = []
arguments = SentenceTransformerTrainingArguments(
    output_dir=str(out / "checkpoints"), per_device_train_batch_size=BATCH // 2, max_steps=steps,
    save_strategy="no", use_cpu=True, dataloader_drop_last=True, report_to="none", disable_tqdm=True,
    dataloader_num_workers=1,
)
tokens = TokenCache(model[0], out / "tokens")
collator = PairCollator(tokens, prompts, packed=False, pad_id=model.tokenizer.pad_token_id)
trainer = Watched(
    model=model, args=arguments, train_dataset=sources, loss=Loss(), data_collator=collator,
    shares={"large:qa": 0.5, "with negatives:qa": 0.3, "small:code2nl": 0.2},
)
sampler = trainer._build_dataloader(trainer.train_dataset, BATCH // 2, dataset_kind="train").batch_sampler
trainer.train()
texts = [text for columns in sampler.drawn_texts(steps) for found in columns.values() for text in found]
(out / f"rank{arguments.process_index}.json").write_text(json.dumps({"drawn": drawn, "texts": texts}))
"""


@pytest.fixture(scope="module")
def ranks_of_a_run(small_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks drew, step by step, with a dataloader worker each, and what was foretold.

    Sources of 2 and of 3 columns: ranks that drew them in the same step would wait for each other for ever.
    """
    folder = tmp_path_factory.mktemp("two ranks")
    script = folder / "run.py"
    script.write_text(RUN.replace("BATCH", str(BATCH)))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [sys.executable, *torchrun, str(script), str(folder), str(small_decoder), str(STEPS)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=240)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_two_real_ranks_draw_one_source_a_step_and_no_text_twice(
    ranks_of_a_run: list[dict[str, Any]],
) -> None:
    one, two = (rank["drawn"] for rank in ranks_of_a_run)
    assert len(one) == len(two) == STEPS
    for here, there in zip(one, two, strict=True):
        assert here["source"] == there["source"]
        columns = 3 if here["source"] == "with negatives:qa" else 2
        assert len(here["ids"]) == len(there["ids"]) == BATCH // 2 * columns
        assert len({*here["ids"], *there["ids"]}) == BATCH * columns, "a text twice over the ranks"
    assert len({step["source"] for step in one}) == 3, "every source is drawn"


def test_a_real_run_draws_exactly_the_texts_that_were_foretold(ranks_of_a_run: list[dict[str, Any]]) -> None:
    drawn = {text for rank in ranks_of_a_run for step in rank["drawn"] for text in step["ids"]}
    for rank in ranks_of_a_run:
        assert sorted(text_ids(rank["texts"]).tolist()) == sorted(drawn)
