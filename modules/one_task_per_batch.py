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


class OneTaskPerBatch(MultiDatasetDefaultBatchSampler):
    """Deal each source's global batches out to the ranks, sources drawn in proportion to their size.

    Arguments:
        dataset: the sources, one after the other.
        batch_samplers: one a source, each yielding batches for all ranks together.
        ranks: processes that share a step. Consecutive batches of this sampler go to ranks 0, 1, …, which
            is how accelerate hands them out.
    """

    def __init__(
        self,
        dataset: ConcatDataset[object],
        batch_samplers: Sequence[BatchSampler],
        generator: torch.Generator,
        seed: int,
        ranks: int,
    ) -> None:
        super().__init__(dataset, list(batch_samplers), generator, seed)
        self.shuffle = generator
        self.ranks = ranks
        self.batch_size = batch_samplers[0].batch_size // ranks

    def __iter__(self) -> Iterator[list[int]]:
        """Indices into the joined dataset, one rank's share at a time."""
        self.shuffle.manual_seed(self.seed + self.epoch)
        starts = [0, *accumulate(len(source) for source in self.dataset.datasets)]  # type: ignore[arg-type]
        batches = [iter(sampler) for sampler in self.batch_samplers]
        turns = [source for source, sampler in enumerate(self.batch_samplers) for _ in range(len(sampler))]
        for source in SubsetRandomSampler(turns, generator=self.shuffle):
            batch = next(batches[source], None)
            if batch is None:  # many duplicates: the source filled fewer batches than its size promised
                continue
            for rank in range(self.ranks):
                share = batch[rank * self.batch_size : (rank + 1) * self.batch_size]
                yield [index + starts[source] for index in share]

    def __len__(self) -> int:
        """Batches of one rank's size in an epoch, over all ranks."""
        return sum(len(sampler) for sampler in self.batch_samplers) * self.ranks
