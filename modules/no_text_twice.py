"""Batches of one source in which no text stands twice."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import BatchSampler
from tqdm import tqdm

from codequarry.modules.text_hash import text_ids

ROWS_A_CHUNK = 10_000  # of a dataset in memory at once


class NoTextTwice(BatchSampler):
    """Draw a dataset's rows in random order, in full batches without a text that stands in two of its rows.

    A row whose text is in the batch already waits for the next one. Rows that still wait when no full batch
    is left are dropped until the next epoch, so a dataset with fewer different queries than `batch_size`
    gives no batch at all. The same seed, epoch and texts give the same batches, whatever the machine.

    Texts are hashed once, here (a million pairs in four seconds), and compared as numbers: a batch of 512
    pairs then takes 0.2 to 0.7 ms. sentence-transformers' NoDuplicatesBatchSampler, which does the same,
    reads each row from the dataset whenever it looks at it: 8 ms, also for each batch that a continued run
    skips.

    Arguments:
        dataset: a `datasets.Dataset` whose columns are texts.
        batch_size: rows, over all ranks.
        seed: of the order, together with the epoch.
    """

    def __init__(self, dataset: Any, batch_size: int, seed: int = 0) -> None:
        super().__init__(dataset, batch_size, drop_last=True)
        self.rows = len(dataset)
        self.seed = seed
        self.epoch = 0
        self._shared = _shared_texts(_ids(dataset))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order: each epoch has its own."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches there would be if no text stood in two rows."""
        return self.rows // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        """Indices of the rows, a batch at a time."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        fresh = iter(torch.randperm(self.rows, generator=generator).tolist())
        # Rows in a queue share its text, so only its first can be in the next batch: a batch costs as many
        # looks as there are texts that somebody waits for, not as there are rows waiting.
        waiting: dict[int, deque[int]] = {}
        while True:
            taken: set[int] = set()
            batch = self._from_waiting(waiting, taken)
            while len(batch) < self.batch_size:
                row = next(fresh, None)
                if row is None:
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


def _ids(dataset: Any) -> npt.NDArray[np.int64]:
    """The texts of all rows as numbers, `(rows, columns)`."""
    found = np.empty((len(dataset), len(dataset.column_names)), dtype=np.int64)
    for start, columns in chunks_of(dataset):
        for position, texts in enumerate(columns.values()):
            found[start : start + ROWS_A_CHUNK, position] = text_ids(texts)
    return found


def _shared_texts(ids: npt.NDArray[np.int64]) -> dict[int, tuple[int, ...]]:
    """By row, its texts that stand elsewhere too; rows without one are left out."""
    different, counts = np.unique(ids, return_counts=True)
    shared = np.isin(ids, different[counts > 1])
    texts: dict[int, tuple[int, ...]] = {}
    rows = np.nonzero(shared)[0]
    for row, text in zip(rows.tolist(), ids[shared].tolist(), strict=True):
        texts[row] = (*texts.get(row, ()), text)
    return texts
