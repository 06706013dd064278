"""Sample batches so that one optimiser step sees one source, one task and no text twice, on every rank.

In-batch negatives come from the other pairs of a step. If two tasks were mixed, telling them apart would be
the easy way to a low loss; if a text stood there twice, a right answer would be counted as wrong. With
several ranks sentence-transformers lets each draw its own source, and where column counts differ the run
hangs for ever. So a batch is drawn for all ranks at once and dealt out.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice

import numpy as np
import torch
from sentence_transformers.base.sampler import MultiDatasetDefaultBatchSampler
from torch.utils.data import ConcatDataset, SubsetRandomSampler

from codequarry.modules.no_text_twice import ROWS_A_CHUNK, NoTextTwice, chunks_of

_ROUNDS = 10_007  # a source is begun anew fewer times in an epoch, so no two rounds share a seed


class OneTaskPerBatch(MultiDatasetDefaultBatchSampler):
    """Deal each source's global batches out to the ranks, each source as often as its share says.

    A source with a small share is left half-read at the end of an epoch; one with a large share is begun
    anew, shuffled again, as often as it takes. A source that cannot fill one batch hands its turns to the
    next one that can, so that an epoch is as long as it says.

    Arguments:
        dataset: the sources, one after the other.
        batch_samplers: one a source, each yielding batches for all ranks together.
        generator: shuffles the turns of the sources; seeded anew at each epoch.
        seed: of the turns, together with the epoch.
        ranks: processes that share a step. Consecutive batches of this sampler go to ranks 0, 1, …, which
            is how accelerate hands them out.
        shares: of the batches, one a source; they sum to 1. None gives each what its size says.
        steps: optimiser steps in an epoch; None: as many as fill it with all sources together. Pass the
            run's `max_steps` to make a run one epoch: shares are then exact in it, and a run that is
            continued on several ranks keeps its order (transformers does not reach this sampler with the
            epoch then, and would begin each continued epoch as the first one).

    Raises ValueError, when drawn from, where no source fills a batch.
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
    ) -> None:
        super().__init__(dataset, [*batch_samplers], generator, seed)
        self.sources = list(batch_samplers)
        self.shuffle = generator
        self.ranks = ranks
        self.batch_size = batch_samplers[0].batch_size // ranks
        sizes = [len(sampler) for sampler in batch_samplers]
        total = sum(sizes)
        self.turns = _apportioned(steps or total, shares or [size / total for size in sizes])

    def __iter__(self) -> Iterator[list[int]]:
        """Indices into the joined dataset, one rank's share at a time."""
        self.shuffle.manual_seed(self.seed + self.epoch)
        starts = [0, *accumulate(len(source) for source in self.dataset.datasets)]  # type: ignore[arg-type]
        batches = [self._again_and_again(source) for source in range(len(self.sources))]
        turns = [source for source, count in enumerate(self.turns) for _ in range(count)]
        for turn in SubsetRandomSampler(turns, generator=self.shuffle):
            source, batch = self._next_batch(batches, turn)
            for rank in range(self.ranks):
                share = batch[rank * self.batch_size : (rank + 1) * self.batch_size]
                yield [index + starts[source] for index in share]

    def __len__(self) -> int:
        """Batches of one rank's size in an epoch, over all ranks."""
        return sum(self.turns) * self.ranks

    def drawn_rows(self, steps: int) -> list[int]:
        """Indices into the joined dataset that the first optimiser steps of a run draw, each once, sorted.

        For what is computed only for texts that will be seen. Epochs begin where the trainer's begin; the
        sampler is left as it was.
        """
        rows: set[int] = set()
        before, epoch, left = self.epoch, 0, steps * self.ranks
        while left > 0:
            self.set_epoch(epoch)
            rows.update(row for batch in islice(self, left) for row in batch)
            epoch, left = epoch + 1, left - len(self)
        self.set_epoch(before)
        return sorted(rows)

    def drawn_texts(self, steps: int) -> list[str]:
        """The texts of all columns that the first optimiser steps of a run draw, each once."""
        drawn = np.zeros(len(self.dataset), dtype=bool)
        drawn[self.drawn_rows(steps)] = True
        texts: dict[str, None] = {}
        start = 0
        for source in self.dataset.datasets:
            chosen = drawn[start : start + len(source)]  # type: ignore[arg-type]
            start += len(chosen)
            for position, columns in chunks_of(source):
                rows = np.flatnonzero(chosen[position : position + ROWS_A_CHUNK]).tolist()
                for found in columns.values():
                    texts.update((found[row], None) for row in rows)
        return list(texts)

    def _next_batch(self, batches: Sequence[Iterator[list[int]]], turn: int) -> tuple[int, list[int]]:
        for source in (*range(turn, len(batches)), *range(turn)):
            # A source that gets no turns is none that may stand in for another.
            batch = next(batches[source], None) if self.turns[source] else None
            if batch is not None:
                return source, batch
        raise ValueError(
            f"no source has {self.batch_size * self.ranks} pairs without a text in common, so not one batch "
            "can be filled: lower batch_size."
        )

    def _again_and_again(self, source: int) -> Iterator[list[int]]:
        """A source's batches, in a new order each time they are used up; none where it fills none."""
        sampler = self.sources[source]
        for again in range(_ROUNDS):
            sampler.set_epoch(self.epoch * _ROUNDS + again)
            empty = True
            for batch in sampler:
                empty = False
                yield batch
            if empty:
                return


def _apportioned(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that sum to `total` and are as near to their shares as they can be."""
    exact = [share * total for share in shares]
    counts = [int(count) for count in exact]
    by_rest = sorted(range(len(exact)), key=lambda source: (counts[source] - exact[source], source))
    for source in by_rest[: total - sum(counts)]:
        counts[source] += 1
    return counts
