"""Sample batches so that one optimiser step sees one source, one task and no text twice, on every rank.

In-batch negatives come from the other pairs of a step. If two tasks were mixed, telling them apart would be
the easy way to a low loss; if a text stood there twice, a right answer would be counted as wrong. With
several ranks sentence-transformers lets each draw its own source, and where column counts differ the run
hangs for ever. So a batch is drawn for all ranks at once and dealt out.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from sentence_transformers.base.sampler import MultiDatasetDefaultBatchSampler
from torch.utils.data import BatchSampler, ConcatDataset, SubsetRandomSampler

_ROUNDS = 10_007  # a source is begun anew fewer times in an epoch, so no two rounds share a seed


class OneTaskPerBatch(MultiDatasetDefaultBatchSampler):
    """Deal each source's global batches out to the ranks, each source as often as its share says.

    An epoch is as long as all sources together. A source with a small share is left half-read in it; one
    with a large share is begun anew, shuffled again, as often as it takes.

    Arguments:
        dataset: the sources, one after the other.
        batch_samplers: one a source, each yielding batches for all ranks together.
        ranks: processes that share a step. Consecutive batches of this sampler go to ranks 0, 1, …, which
            is how accelerate hands them out.
        shares: of the batches, one a source; they sum to 1. None gives each what its size says.
    """

    def __init__(
        self,
        dataset: ConcatDataset[object],
        batch_samplers: Sequence[BatchSampler],
        generator: torch.Generator,
        seed: int,
        ranks: int,
        shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__(dataset, list(batch_samplers), generator, seed)
        self.shuffle = generator
        self.ranks = ranks
        self.batch_size = batch_samplers[0].batch_size // ranks
        sizes = [len(sampler) for sampler in batch_samplers]
        self.turns = sizes if shares is None else _apportioned(sum(sizes), shares)

    def __iter__(self) -> Iterator[list[int]]:
        """Indices into the joined dataset, one rank's share at a time."""
        self.shuffle.manual_seed(self.seed + self.epoch)
        starts = [0, *accumulate(len(source) for source in self.dataset.datasets)]  # type: ignore[arg-type]
        batches = [self._again_and_again(source) for source in range(len(self.batch_samplers))]
        turns = [source for source, count in enumerate(self.turns) for _ in range(count)]
        for source in SubsetRandomSampler(turns, generator=self.shuffle):
            batch = next(batches[source], None)
            if batch is None:  # so many duplicates that not one batch can be filled
                continue
            for rank in range(self.ranks):
                share = batch[rank * self.batch_size : (rank + 1) * self.batch_size]
                yield [index + starts[source] for index in share]

    def __len__(self) -> int:
        """Batches of one rank's size in an epoch, over all ranks."""
        return sum(self.turns) * self.ranks

    def _again_and_again(self, source: int) -> Iterator[list[int]]:
        """A source's batches, in a new order each time they are used up; none where it fills none."""
        sampler = self.batch_samplers[source]
        for again in range(_ROUNDS):
            sampler.set_epoch(self.epoch * _ROUNDS + again)  # type: ignore[attr-defined]
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
