"""Batches of one source in which no query and no document occurs twice."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers.base.sampler import MultiDatasetDefaultBatchSampler
from torch.utils.data import BatchSampler, ConcatDataset, SubsetRandomSampler
from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.common.files import text_ids

ROWS_A_CHUNK = 10_000  # of a dataset in memory at once
QUERY, DOCUMENT = "query", "document"  # columns; the others are mined negatives
_TRIES = 10  # orders of a source; one whose texts repeat much may fill a batch in one and not in another


class NoTextTwice(BatchSampler):
    """Draw a dataset's rows in random order, in full batches without a text that is in two of their rows.

    A row whose text is in the batch already waits for the next one. Rows that still wait when no full batch
    is left are dropped until the next epoch, so a dataset with fewer different queries than `batch_size`
    gives no batch at all. The same seed, epoch and texts give the same batches on every machine.

    Mined negatives are documents of other rows, and the hardest are those of very many. If they too had to
    be unique, 500 rows with 4 negatives each would give no batch of 64, and the rows with the hardest ones
    would be dropped first. So they may repeat where the loss masks what is right for a query.

    Texts are hashed once, here (a million pairs in four seconds), and compared as integers: a batch of 512
    pairs takes 0.2 to 0.7 ms. sentence-transformers' NoDuplicatesBatchSampler reads each candidate row from
    the dataset: 8 ms, also for each batch that a resumed run skips.

    Arguments:
        dataset: a `datasets.Dataset` whose columns are texts.
        batch_size: rows, over all ranks.
        seed: of the order, together with the epoch.
        negatives_repeat: of the columns only `query` and `document` are compared, for a loss that masks a
            negative where it is right (`Objective.masks_right_documents`). False: all columns.
    """

    def __init__(
        self, dataset: Any, batch_size: int, seed: int = 0, *, negatives_repeat: bool = False
    ) -> None:
        super().__init__(dataset, batch_size, drop_last=True)
        self.rows = len(dataset)
        self.seed = seed
        self.epoch = 0
        ids = _ids(dataset, (QUERY, DOCUMENT) if negatives_repeat else dataset.column_names)
        # More rows than different texts of a column are in no batch.
        self.at_most = min((len(np.unique(ids[:, column])) for column in range(ids.shape[1])), default=0)
        self._shared = _shared_texts(ids)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order: each epoch has its own."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches there would be if no two rows shared a text."""
        return self.rows // self.batch_size

    def rows_together(self) -> int:
        """`batch_size` where a batch can be filled, or else how many rows without a text in common it has.

        The texts are looked at in the orders that a run draws first, at most a few of them.
        """
        if self.at_most < self.batch_size:
            return self.at_most
        most = 0
        for again in range(_TRIES):
            self.set_epoch(again)
            most = max(most, len(next(self._batches(), ())))
            if most == self.batch_size:
                break
        self.set_epoch(0)
        return most

    def __iter__(self) -> Iterator[list[int]]:
        """Indices of the rows, a batch at a time."""
        return (batch for batch in self._batches() if len(batch) == self.batch_size)

    def _batches(self) -> Iterator[list[int]]:
        """The batches, and at the end one that lacks rows."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        fresh = iter(torch.randperm(self.rows, generator=generator).tolist())
        # Rows in a queue share its text, so only its first can be in the next batch: a batch costs one check
        # per text that rows wait for, not per waiting row.
        waiting: dict[int, deque[int]] = {}
        while True:
            taken: set[int] = set()
            batch = self._from_waiting(waiting, taken)
            while len(batch) < self.batch_size:
                row = next(fresh, None)
                if row is None:
                    yield batch
                    return
                texts = self._shared.get(row, ())
                blocking = next((text for text in texts if text in taken), None)
                if blocking is None:
                    batch.append(row)
                    taken.update(texts)
                else:
                    waiting.setdefault(blocking, deque()).append(row)
            yield batch

    def _from_waiting(self, waiting: dict[int, deque[int]], taken: set[int]) -> list[int]:
        batch: list[int] = []
        for text in list(waiting):
            if len(batch) == self.batch_size:
                break
            queue = waiting[text]
            if taken.isdisjoint(self._shared[queue[0]]):
                row = queue.popleft()
                batch.append(row)
                taken.update(self._shared[row])
                del waiting[text]
                if queue:
                    waiting[text] = queue  # at the end: the others come first next time
            else:
                queue.rotate(-1)  # another text of this row is in the batch
        return batch


def chunks_of(dataset: Any) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """The texts of a dataset by column, `ROWS_A_CHUNK` rows at a time, and the number of the first row."""
    plain = dataset.with_format(None)  # without the transform by which the trainer adds the source's name
    chunks = range(0, len(dataset), ROWS_A_CHUNK)
    for start in tqdm(chunks, desc="reading texts", delay=2, leave=False):
        yield start, plain[start : start + ROWS_A_CHUNK]


def _ids(dataset: Any, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """The `text_ids` of all rows, `(rows, columns)`, of the columns of these names."""
    chosen = dataset.select_columns(list(names))
    found = np.empty((len(dataset), len(names)), dtype=np.int64)
    for start, columns in chunks_of(chosen):
        for position, texts in enumerate(columns.values()):
            found[start : start + ROWS_A_CHUNK, position] = text_ids(texts)
    return found


def _shared_texts(ids: npt.NDArray[np.int64]) -> dict[int, tuple[int, ...]]:
    """By row, its texts that occur elsewhere too; rows without one are left out."""
    different, counts = np.unique(ids, return_counts=True)
    shared = np.isin(ids, different[counts > 1])
    texts: dict[int, tuple[int, ...]] = {}
    for row, text in zip(np.nonzero(shared)[0].tolist(), ids[shared].tolist(), strict=True):
        texts[row] = (*texts.get(row, ()), text)
    return texts


_ROUNDS = 10_007  # a source is begun anew fewer times in an epoch, so no two rounds share a seed


class OneTaskPerBatch(MultiDatasetDefaultBatchSampler):
    """Split each source's global batches over the ranks, each source as often as its share says.

    A source with a small share is left half-read at the end of an epoch; one with a large share is begun
    anew, shuffled again, as often as it takes.

    Arguments:
        dataset: the sources, one after the other.
        batch_samplers: one per source, each yielding batches for all ranks together.
        generator: shuffles the turns of the sources; seeded anew at each epoch.
        seed: of the turns, together with the epoch.
        ranks: processes that share a step. Consecutive batches of this sampler go to ranks 0, 1, …, as
            accelerate distributes them.
        shares: of the batches, one per source; they sum to 1. None: in proportion to its size.
        steps: optimiser steps in an epoch; None: as many as fill it with all sources together. Pass the
            run's `max_steps` to make a run one epoch: shares are then exact in it, and a run that is
            resumed on several ranks keeps its order (transformers does not reach this sampler with the
            epoch then, and would begin each resumed epoch as the first one).
        names: of the sources, for messages; None: their numbers.

    turns: batches of each source in an epoch.

    Raises UserError, when drawn from, for a source with turns that cannot fill a batch.
    """

    def __init__(
        self,
        dataset: ConcatDataset[object],
        batch_samplers: Sequence[NoTextTwice],
        generator: torch.Generator,
        seed: int,
        ranks: int,
        shares: Sequence[float] | None = None,
        steps: int | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(dataset, [*batch_samplers], generator, seed)
        self.names = list(names or map(str, range(len(batch_samplers))))
        self.sources = list(batch_samplers)
        self.shuffle = generator
        self.ranks = ranks
        self.batch_size = batch_samplers[0].batch_size // ranks
        sizes = [len(sampler) for sampler in batch_samplers]
        total = sum(sizes)
        self.turns = apportioned(steps or total, shares or [size / total for size in sizes])

    def __iter__(self) -> Iterator[list[int]]:
        """Indices into the joined dataset, one rank's share at a time."""
        self.shuffle.manual_seed(self.seed + self.epoch)
        starts = [0, *accumulate(len(source) for source in self.dataset.datasets)]  # type: ignore[arg-type]
        batches = [self._again_and_again(source) for source in range(len(self.sources))]
        turns = [source for source, count in enumerate(self.turns) for _ in range(count)]
        for source in SubsetRandomSampler(turns, generator=self.shuffle):
            batch = next(batches[source], None)
            if batch is None:
                raise UserError(
                    f"source {self.names[source]} has no {self.batch_size * self.ranks} pairs without a text "
                    "in common, so it fills no batch of its share: lower batch_size, or give it the weight 0."
                )
            for rank in range(self.ranks):
                share = batch[rank * self.batch_size : (rank + 1) * self.batch_size]
                yield [index + starts[source] for index in share]

    def __len__(self) -> int:
        """Batches of one rank's size in an epoch, over all ranks."""
        return sum(self.turns) * self.ranks

    def drawn_rows(self, steps: int) -> list[int]:
        """Indices into the joined dataset that the first optimiser steps of a run draw, each once, sorted.

        Epochs begin where the trainer's begin; the sampler is left as it was.
        """
        rows: set[int] = set()
        before, epoch, left = self.epoch, 0, steps * self.ranks
        while left > 0:
            self.set_epoch(epoch)
            rows.update(row for batch in islice(self, left) for row in batch)
            epoch, left = epoch + 1, left - len(self)
        self.set_epoch(before)
        return sorted(rows)

    def drawn_texts(self, steps: int) -> list[dict[str, list[str]]]:
        """By source and column, the texts that the first optimiser steps of a run draw, each once."""
        drawn = np.zeros(len(self.dataset), dtype=bool)
        drawn[self.drawn_rows(steps)] = True
        texts: list[dict[str, list[str]]] = []
        start = 0
        for source in self.dataset.datasets:
            chosen = drawn[start : start + len(source)]  # type: ignore[arg-type]
            start += len(chosen)
            columns: dict[str, dict[str, None]] = {}
            for position, chunk in chunks_of(source):
                rows = np.flatnonzero(chosen[position : position + ROWS_A_CHUNK]).tolist()
                for name, found in chunk.items():
                    columns.setdefault(name, {}).update((found[row], None) for row in rows)
            texts.append({name: list(found) for name, found in columns.items()})
        return texts

    def _again_and_again(self, source: int) -> Iterator[list[int]]:
        """A source's batches, anew in another order when used up; ends where several orders give none."""
        sampler = self.sources[source]
        empty = 0
        for again in range(_ROUNDS):
            sampler.set_epoch(self.epoch * _ROUNDS + again)
            empty += 1
            for batch in sampler:
                empty = 0
                yield batch
            if empty == _TRIES:
                return


def apportioned(total: int, shares: Sequence[float]) -> list[int]:
    """Integers that sum to `total` and are as near to their shares as possible (largest remainders)."""
    exact = [share * total for share in shares]
    counts = [int(count) for count in exact]
    by_rest = sorted(range(len(exact)), key=lambda source: (counts[source] - exact[source], source))
    for source in by_rest[: total - sum(counts)]:
        counts[source] += 1
    return counts
