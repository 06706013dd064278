"""Run by torchrun as two ranks: each holds half a batch, and DDP's gradient is the whole batch's.

The ranks' texts are of unequal lengths, so they make unlike numbers of mini-batches, and what is repeated in
the batch is repeated across the ranks.
"""

import os
import sys
from dataclasses import replace
from itertools import cycle, product

import torch
import torch.distributed as dist
from naive_objective import (
    MASKS,
    Combination,
    Naive,
    TinyModel,
    additions,
    batch,
    check,
    combinations,
    pairwise,
    softmaxes,
)
from torch.nn.parallel import DistributedDataParallel

from codequarry.modules.losses.contrastive import Objective
from codequarry.modules.losses.grad_cache import most_tokens


def main() -> None:
    dist.init_process_group("gloo")
    rank, compared = dist.get_rank(), 0
    # Ranks of which only one embeds twice hang: both go by the larger of their halves.
    assert most_tokens([{"input_ids": torch.zeros(1, 5 + rank)}, {"input_ids": torch.zeros(2, 3)}]) == 12
    for columns in (2, 3):
        whole = batch(columns)
        half = [{name: value[3 * rank : 3 * rank + 3] for name, value in column.items()} for column in whole]
        naive = Naive(TinyModel(), whole)
        for grad_cache_threshold, unused in product((0, 12, None), (True, False)):
            model = DistributedDataParallel(TinyModel(), find_unused_parameters=unused)
            more = cycle(additions())
            some = [replace(base, **mask, **next(more)) for mask in MASKS for base in softmaxes()]
            if "every" not in sys.argv:
                some = pairwise(combinations())
            for chosen in some[unused::2]:
                expected = naive(chosen)
                loss = Objective(
                    model,
                    mini_batch_tokens=9,
                    grad_cache_threshold=grad_cache_threshold,
                    **chosen.arguments(),
                )
                model.zero_grad()
                value = loss(half)
                value.backward()
                mean = value.detach().clone()
                dist.all_reduce(mean)  # matching is this rank's share, the rest is the whole step's
                gradients = [parameter.grad for parameter in model.parameters()]
                check(mean / 2, gradients, expected, (rank, columns, grad_cache_threshold, chosen))
                compared += 1
            chosen = Combination()
            expected = naive(chosen)[0]
            loss = Objective(
                model, mini_batch_tokens=9, grad_cache_threshold=grad_cache_threshold, **chosen.arguments()
            )
            with torch.no_grad():
                torch.testing.assert_close(loss(half), expected)
    sys.stdout.write(f"rank {rank}: {compared} combinations\n")  # in one piece: two ranks share the pipe
    sys.stdout.flush()
    dist.barrier()
    # Not by returning: a process group that goes with its last DDP model waits for its own thread while it
    # holds the lock that this thread may need to let go of the last collective's tensors (torch 2.13, gloo).
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
