"""Give a loss the embeddings of a whole batch that was embedded a mini-batch at a time, gradients exact."""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from sentence_transformers.base.losses import CachedLossMixin, RandContext
from sentence_transformers.util import get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Features = dict[str, Any]


class MiniBatchLoss(CachedLossMixin, nn.Module):
    """A loss on whole-batch embeddings; who derives from it writes `of_embeddings` and calls `over`.

    Two ways to the same gradient. A large batch goes through sentence-transformers' GradCache (Gao et al.
    2021, arXiv 2101.06983): embed without gradients, differentiate the loss by the embeddings, embed again
    mini-batch by mini-batch with gradients. Memory is that of one mini-batch, and texts are embedded twice.
    In a small one every mini-batch is embedded once and kept until the backward pass: less time, where the
    batch fits.

    Arguments:
        model: what embeds; its output holds `sentence_embedding (texts, dim)`.
        mini_batch_tokens: tokens a forward pass, padding not counted; a longer text goes alone.
        graph_tokens: a batch of more tokens goes through GradCache; 0: each does; None: none does.
    """

    def __init__(self, model: nn.Module, *, mini_batch_tokens: int, graph_tokens: int | None) -> None:
        super().__init__()
        if mini_batch_tokens < 1:
            raise ValueError(f"mini_batch_tokens = {mini_batch_tokens}: at least 1.")
        self.model = model
        self.mini_batch_num_tokens = mini_batch_tokens
        self.mini_batch_size = 1  # of the parent, which reads it only where no tokens are given
        self.graph_tokens = graph_tokens
        self.uses_gradient_cache = graph_tokens == 0  # of the last batch

    def of_embeddings(self, embeddings: list[Tensor], known: Any) -> Tensor:
        """The loss from one `(texts, dim)` tensor a column, and from what `over` was told beside them."""
        raise NotImplementedError

    def over(self, columns: Iterable[Features], known: Any = None) -> Tensor:
        """The loss over columns of tokenised texts, ready for `backward`.

        Arguments:
            columns: what the model takes, one dictionary a column.
            known: passed on to `of_embeddings` as it is.
        """
        columns = list(columns)
        self.uses_gradient_cache = self.graph_tokens is not None and most_tokens(columns) > self.graph_tokens
        if self.uses_gradient_cache:
            loss: Tensor = self.forward_cached(columns, known)
            return loss
        return self.calculate_loss(self._embedded(columns), known)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Any = None, *, with_backward: bool = False
    ) -> Tensor:
        """The loss from embeddings by column and mini-batch: what GradCache calls."""
        loss = self.of_embeddings([torch.cat(column) for column in reps], labels)
        if with_backward:
            loss.backward()  # type: ignore[no-untyped-call]
            loss = loss.detach()
        return loss

    def embed_minibatch(
        self,
        sentence_feature: Features,
        begin: int,
        end: int,
        with_grad: bool,
        copy_random_state: bool,
        random_state: Any = None,
    ) -> tuple[Tensor, Any]:
        """Embed texts `begin` to `end`, and keep what it takes to do so again; `random_state` is that.

        Half-precision embeddings leave as float32, so that the gradients kept for the second pass are not
        rounded.
        """
        embeddings, dice = super().embed_minibatch(
            sentence_feature, begin, end, with_grad, copy_random_state, random_state
        )
        wide = torch.promote_types(embeddings.dtype, torch.float32)
        return embeddings.to(wide), dice and _FirstPass(dice, embeddings.device.type)

    def _embedded(self, columns: list[Features]) -> list[list[Tensor]]:
        """All mini-batches in one graph."""
        first = True
        embedded: list[list[Tensor]] = []
        for column in columns:
            embedded.append([])
            mini_batches = self.embed_minibatch_iter(column, torch.is_grad_enabled(), copy_random_state=False)
            while True:
                # DDP prepares for a backward pass, and exchanges buffers, at every forward that it may
                # synchronise. Once is enough; twice, and ranks with unlike numbers of mini-batches would
                # wait for each other for ever.
                with nullcontext() if first else self._unsynchronised():
                    mini_batch = next(mini_batches, None)
                if mini_batch is None:
                    break
                first = False
                embedded[-1].append(mini_batch[0])
        return embedded

    def _unsynchronised(self) -> Any:
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()


def most_tokens(columns: list[Features]) -> int:
    """Tokens of the batch, padding counted, on the rank that has most.

    Every rank must take the same way to the gradient: where one embeds twice and the other once, they wait
    for each other for ever.
    """
    ids = [column["input_ids"] for column in columns]
    tokens: int = sum(one.numel() for one in ids)
    if get_world_size() == 1:
        return tokens
    most = torch.tensor(tokens, device=ids[0].device)
    torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX)
    return int(most.item())


class _FirstPass:
    """The dice and the automatic precision of a first forward; within it, both are the same again.

    A backward pass runs outside the autocast that the forward pass ran in. Left alone, GradCache's second
    forward computes in float32 what the first computed in bfloat16: at twice the time, and with the
    gradients of another function.
    """

    def __init__(self, dice: RandContext, device: str) -> None:
        self.dice = dice
        self.autocast = torch.autocast(
            device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        )

    def __enter__(self) -> None:
        self.dice.__enter__()
        self.autocast.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *failure: Any) -> None:
        self.autocast.__exit__(*failure)
        self.dice.__exit__(*failure)
