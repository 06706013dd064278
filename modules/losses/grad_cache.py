"""GradCache: a loss on a whole batch that is embedded a mini-batch at a time, with exact gradients.

How much of a step is kept for the backward pass is a bound on its tokens; `tokens_that_fit` measures what
memory allows.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.losses import CachedLossMixin, RandContext
from sentence_transformers.util import get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from codequarry.common.errors import UserError
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.packing import packed, padded, position_offset, to_device, training_mode
from codequarry.modules.precision import Compute

_SHARE = 0.25  # of the free memory, where a recipe names no bound
_GB = 1e9
# By how much a process grows, over what autograd keeps: what operations take and give back leaves gaps in
# it. 2,431 tokens of Qwen2.5-Coder-0.5B with LoRA kept 3.10 GB, and the process grew by 4.64 GB.
_GROWTH = 1.5

Features = dict[str, Any]


@dataclass
class _MiniBatch:
    """Texts `begin` to `end` of a column.

    tokens: that a forward pass computes, padding included where texts are padded.
    vectors: `(texts, dim)`, what the loss differentiates by; in a cached step cut off from the model.
    graph: the same with the model's graph behind it, where that is kept; None where it is built again.
    dice: random state and precision of the first pass, for the second.
    """

    column: int
    begin: int
    end: int
    tokens: int
    vectors: Tensor | None = None
    graph: Tensor | None = None
    dice: "_FirstPass | None" = None


class MiniBatchLoss(CachedLossMixin, nn.Module):
    """A loss on whole-batch embeddings; a subclass defines `loss_from_embeddings` and calls `compute_loss`.

    A step whose tokens fit into `grad_cache_threshold` is embedded once, every mini-batch kept until the
    backward pass. Of a larger one as many mini-batches as fit are kept so; the others go through GradCache
    (Gao et al. 2021, arXiv 2101.06983): embedded without gradients, and again with them once the loss is
    differentiated by the embeddings. The gradient is the same.

    Arguments:
        model: what embeds; its output holds `sentence_embedding (texts, dim)`.
        mini_batch_tokens: a mini-batch has at most so many tokens, each text counted as long as its longest
            one; a longer text goes alone. Attention's cost, texts · longest², is bounded too, see
            `_mini_batches`.
        grad_cache_threshold: tokens of a step that are kept for the backward pass; 0: none, None: all.
    """

    def __init__(self, model: nn.Module, *, mini_batch_tokens: int, grad_cache_threshold: int | None) -> None:
        super().__init__()
        if mini_batch_tokens < 1:
            raise UserError(f"mini_batch_tokens = {mini_batch_tokens}: at least 1.")
        self.model = model
        self.mini_batch_tokens = mini_batch_tokens
        self.grad_cache_threshold = grad_cache_threshold
        self.uses_gradient_cache = grad_cache_threshold == 0  # of the last batch

    def loss_from_embeddings(self, embeddings: list[Tensor], known: Any) -> Tensor:
        """The loss from one `(texts, dim)` tensor per column and the `known` of `compute_loss`."""
        raise NotImplementedError

    def compute_loss(self, columns: Iterable[Features], known: Any = None) -> Tensor:
        """The loss over columns of tokenised texts, ready for `backward`.

        Arguments:
            columns: what the model takes, one dictionary a column. Where one holds `place (texts,)`, row i of
                its embeddings is that of its text number `place[i]`.
            known: passed on to `loss_from_embeddings` as it is.
        """
        columns = list(columns)
        places = [column.get("place") for column in columns]
        columns = [{name: value for name, value in column.items() if name != "place"} for column in columns]
        batches = [
            batch
            for number, column in enumerate(columns)
            for batch in _mini_batches(number, column, self.mini_batch_tokens)
        ]
        self.uses_gradient_cache = (
            self.grad_cache_threshold is not None and most_tokens(columns) > self.grad_cache_threshold
        )
        if self.uses_gradient_cache and torch.is_grad_enabled():
            return self._cached(columns, places, batches, known)
        for position, batch in enumerate(batches):
            # DDP prepares for a backward pass, and exchanges buffers, at every forward that it may
            # synchronise. Once is enough; twice, and ranks with unlike numbers of mini-batches would wait
            # for each other for ever.
            with self._unsynchronised() if position else nullcontext():
                batch.vectors, _ = self._embed(columns, batch, with_grad=torch.is_grad_enabled())
        return self.loss_from_embeddings(_whole(batches, places), known)

    def _cached(
        self, columns: list[Features], places: Sequence[Tensor | None], batches: list[_MiniBatch], known: Any
    ) -> Tensor:
        assert self.grad_cache_threshold is not None
        left = self.grad_cache_threshold
        for batch in batches:
            left -= batch.tokens
            # The last one is always embedded again: in that pass DDP synchronises.
            kept = left >= 0 and batch is not batches[-1]
            with self._unsynchronised():
                vectors, batch.dice = self._embed(columns, batch, with_grad=kept, remember=not kept)
            batch.graph = vectors if kept else None
            batch.vectors = vectors.detach().requires_grad_()
        loss = self.loss_from_embeddings(_whole(batches, places), known)
        loss.backward()  # type: ignore[no-untyped-call]
        loss = loss.detach().requires_grad_()
        loss.register_hook(partial(self._through_the_model, columns=columns, batches=batches))  # type: ignore[no-untyped-call]
        return loss

    def _through_the_model(
        self, factor: Tensor, *, columns: list[Features], batches: list[_MiniBatch]
    ) -> None:
        """Propagate the gradients of all vectors, times the outer backward pass's own, to the weights."""
        with torch.enable_grad():
            for batch in batches:
                assert batch.vectors is not None
                gradient = batch.vectors.grad
                with nullcontext() if batch is batches[-1] else self._unsynchronised():
                    vectors = batch.graph
                    if vectors is None:
                        vectors, _ = self._embed(columns, batch, with_grad=True)
                    if vectors.requires_grad and gradient is not None:
                        vectors.backward(gradient * factor)  # type: ignore[no-untyped-call]
                batch.graph = batch.vectors = None  # what it kept is free for the next one

    def _embed(
        self, columns: list[Features], batch: _MiniBatch, *, with_grad: bool, remember: bool = False
    ) -> tuple[Tensor, "_FirstPass | None"]:
        """The vectors of a mini-batch, and with `remember` what it takes to embed it again in the same way.

        Half-precision vectors leave as float32, so that gradients kept for a second pass are not rounded.
        """
        first: Any = batch.dice
        vectors, dice = self.embed_minibatch(
            columns[batch.column], batch.begin, batch.end, with_grad, remember, first
        )
        wide = torch.promote_types(vectors.dtype, torch.float32)
        return vectors.to(wide), _FirstPass(dice, vectors.device.type) if dice else None

    def _unsynchronised(self) -> Any:
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()


def _mini_batches(number: int, column: Features, limit: int) -> Iterator[_MiniBatch]:
    """Neighbouring texts of a column, at most `limit` tokens together, counted texts · longest.

    Attention computes texts · longest² scores. They are `limit · 512` at most, so that memory does not grow
    with the length of texts, and at most twice what the texts need, Σ length², where that is many: else one
    long text makes as many times its own square as there are short ones with it. Texts that come sorted
    waste little, and are rarely cut for it. Which texts are together changes sums in their last digits only.
    """
    is_packed = "cu_seq_lens_q" in column
    lengths: list[int] = (
        column["cu_seq_lens_q"].diff() if is_packed else column["attention_mask"].sum(dim=1)
    ).tolist()

    def of(begin: int, end: int) -> _MiniBatch:
        own = lengths[begin:end]
        return _MiniBatch(number, begin, end, sum(own) if is_packed else len(own) * max(own))

    begin, longest, needed = 0, 0, 0
    for end, length in enumerate(lengths):
        longest, needed = max(longest, length), needed + length**2
        texts = end + 1 - begin
        scores = texts * longest**2
        too_many = texts * longest > limit or scores > limit * _LONG
        if end > begin and (too_many or scores > max(2 * needed, _FEW)):
            yield of(begin, end)
            begin, longest, needed = end, length, length**2
    yield of(begin, len(lengths))


_LONG = 512  # tokens; texts up to this length are together by their tokens alone
_FEW = 2**18  # scores per head that are computed in no time; four texts of 256 tokens have as many


def _whole(batches: Iterable[_MiniBatch], places: Sequence[Tensor | None]) -> list[Tensor]:
    """The embeddings of each column, in the order of its pairs."""
    parts: list[list[Tensor]] = [[] for _ in places]
    for batch in batches:
        assert batch.vectors is not None
        parts[batch.column].append(batch.vectors)
    return [
        torch.cat(part) if place is None else torch.cat(part)[place]
        for part, place in zip(parts, places, strict=True)
    ]


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


def tokens_that_fit(
    model: CodeEmbedder, precision: Compute, device: str, *, packs: bool, memory_gb: float | None = None
) -> int:
    """Tokens of one rank's step that can be kept without the process growing by more than `memory_gb`.

    Arguments:
        model: as it is trained: adapter, packing and recomputation in place.
        packs: whether it takes packed texts.
        memory_gb: 1e9 bytes; None: a quarter of the memory that is free now.
    """
    memory = _SHARE * free_memory(device) if memory_gb is None else memory_gb * _GB
    return int(memory / (_GROWTH * bytes_per_token(model, precision, packs=packs)))


def bytes_per_token(model: CodeEmbedder, precision: Compute, *, packs: bool) -> float:
    """What a token in a text of full length leaves behind for the backward pass, in all layers.

    Measured: one such text and three go through the model, and the tensors that autograd keeps are counted,
    each storage once, weights left out. The difference leaves out what a step keeps once, as the copies of
    weights that autocast makes.
    """
    few, many = 1, 3
    length = model.max_seq_length or 512
    with training_mode(model, True):
        sizes = [_kept(model, precision, [[7] * length] * texts, packs) for texts in (few, many)]
    return (sizes[1] - sizes[0]) / ((many - few) * length)


def _kept(model: CodeEmbedder, precision: Compute, rows: list[list[int]], packs: bool) -> int:
    """Bytes that autograd keeps of these token ids, weights left out."""
    features = packed(rows, position_offset(model)) if packs else padded(rows)
    kept: dict[int, Tensor] = {}  # the tensors too: a storage that is freed lends its address to another

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    half = torch.bfloat16 if precision == "bf16" else torch.float16
    compute = nullcontext() if precision == "fp32" else torch.autocast(model.device.type, half)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), compute:
        model(to_device(features, model.device))
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    return sum(one.untyped_storage().nbytes() for pointer, one in kept.items() if pointer not in weights)


def free_memory(device: str) -> int:
    """Bytes that are free now, of the accelerator or the machine; half of all where it is not known."""
    kind = device.partition(":")[0]
    if kind == "mps":  # it shares the machine's memory, and torch takes a part of that at most
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    info = getattr(getattr(torch, kind, None), "mem_get_info", None)
    if kind != "cpu" and info is not None:
        return int(info()[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
