"""Run texts without padding: all tokens of a mini-batch in one row, attention inside each text.

Texts of code differ much in length, and padding to the longest of a batch makes a step compute 1.3 to 2.5
times the tokens there are. sentence-transformers packs texts only for flash-attention, which no CPU has; here
the same packed features run on every device, through transformers' own registry of attention functions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from codequarry.modules.attention import spans
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.last_token_pooling import LastRows, LastTokenPooling
from codequarry.modules.static_embedding import static_module

NAME = "packed"

_PACKED_FEATURES = {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx"}


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of each token to the tokens of its own text, as transformers' models call it.

        softmax(Q_t K_tᵀ · scaling) V_t   for each text t; causal where `is_causal`, or else the module, says
                                          so; with a `sliding_window`, of tokens less than that apart;
                                          a share `dropout` of the weights set to 0

    A GPU in half precision uses torch's variable-length flash kernel. Elsewhere the texts are copied into a
    padded block for attention alone, as two batched products: on a CPU the backward pass of torch's fused
    attention took a third of a whole training step. That block has a score for each pair of tokens, so its
    memory grows with the square of the longest text. Padded features go to the stock function.

    Raises NotPackedError for packed features together with what this function does not compute, such as a
    cap on the scores or a bias.

    Shapes: `query (1, heads, all tokens, size)`, `key` and `value (1, kv_heads, all tokens, size)`,
    `cu_seq_lens_q (texts + 1,)`, to `(1, all tokens, heads, size)`.
    """
    if cu_seq_lens_q is None or max_length_q is None:
        others |= {"scaling": scaling, "sliding_window": sliding_window, "is_causal": is_causal}
        others["dropout"] = dropout
        return sdpa_attention_forward(module, query, key, value, attention_mask, **others)
    unknown = [name for name, value in others.items() if value is not None and name not in _WITHOUT_EFFECT]
    if attention_mask is not None:
        unknown.append("attention_mask")
    if unknown:
        raise NotPackedError(f"its attention takes {', '.join(sorted(unknown))}, which is not known here")
    # transformers passes the configuration's `is_causal`, where it has one (read in 5.23); it outranks the
    # module's, which a decoder that was made bidirectional leaves at True.
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    # Under autocast a rotary embedding leaves queries and keys in float32 where values are in bfloat16.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if sliding_window is not None and sliding_window >= max_length_q:
        sliding_window = None  # it reaches over every text here
    bounds, longest, window = cu_seq_lens_q, max_length_q, sliding_window
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and not dropout:
        return _flash_attention(query, key, value, scaling, bounds, longest, causal, window), None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended = _BlockAttention.apply(query, key, value, scale, bounds, longest, causal, window, dropout)  # type: ignore[no-untyped-call]
    return attended, None


class NotPackedError(RuntimeError):
    """Attention on packed texts was asked for something that `packed_attention` does not compute."""


# What transformers' models pass on (read in 5.23) that changes nothing here: where texts begin is known from
# `cu_seq_lens_q`, and positions are in the queries and keys.
_WITHOUT_EFFECT = frozenset(
    (
        "position_ids", "seq_idx", "cu_seq_lens_k", "max_length_k", "use_cache", "cache_position",
        "past_key_values", "deterministic", "output_attentions", "output_hidden_states", "return_dict",
        "token_embeddings", "sentence_embedding",  # of features that went through the model before
    )
)  # fmt: skip


def _flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    bounds: Tensor,
    longest: int,
    causal: bool,
    window: int | None,
) -> Tensor:
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    ends = bounds.int()
    reach = -1 if window is None else window - 1  # tokens to one side; the kernel's -1 is all of them
    sides = (reach, 0) if causal else (reach, reach)
    grouped = k.shape[1] != q.shape[1]
    attended = varlen_attn(
        q, k, v, ends, ends, longest, longest, scale=scaling, window_size=sides, enable_gqa=grouped
    )
    assert isinstance(attended, Tensor)
    return attended[None]


class _BlockAttention(torch.autograd.Function):
    """Attention inside each text as two batched products; the backward pass computes the scores again.

    Kept are queries, keys and values, without padding. The scores, a number per head and pair of tokens of
    a text, would be an eighth of all that a layer keeps at 128 tokens, and half at 512.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        bounds: Tensor,
        longest: int,
        causal: bool,
        window: int | None,
        dropout: float = 0.0,
    ) -> Tensor:
        blocks = _Blocks(bounds, longest, query.shape[1], key.shape[1], causal, window)
        # Drawn from torch's own dice, so that GradCache's second pass drops the same weights.
        seed = int(torch.randint(2**31, ())) if dropout else 0
        ctx.blocks, ctx.scale, ctx.dropout, ctx.seed = blocks, scale, dropout, seed
        ctx.save_for_backward(query, key, value)
        # Autocast would turn the scores into float32: they are the largest tensors of a layer, and the
        # softmax sums in float32 anyway.
        with torch.autocast(query.device.type, enabled=False):
            k, v = blocks.of_keys(key), blocks.of_keys(value)
            weights = blocks.weights(blocks.of_queries(query * scale), k)
            if dropout:
                weights *= _kept(weights, dropout, seed)
            return blocks.rows(weights @ v)[None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        blocks: _Blocks = ctx.blocks
        with torch.autocast(query.device.type, enabled=False):
            q, k, v = blocks.of_queries(query * ctx.scale), blocks.of_keys(key), blocks.of_keys(value)
            weights = blocks.weights(q, k)
            towards = blocks.of_queries(gradient.to(value.dtype).transpose(1, 2))
            of_weights = towards @ v.transpose(-1, -2)
            used = weights
            if ctx.dropout:
                kept = _kept(weights, ctx.dropout, ctx.seed)
                used, of_weights = weights * kept, of_weights * kept
            of_value = blocks.key_rows(used.transpose(-1, -2) @ towards)
            # Through the softmax: w · (g - Σ w g).
            of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_query = blocks.rows(of_scores @ k).mul_(ctx.scale).transpose(0, 1)[None]
            of_key = blocks.key_rows(of_scores.transpose(-1, -2) @ q)
        return of_query, of_key, of_value, None, None, None, None, None, None


def _kept(weights: Tensor, dropout: float, seed: int) -> Tensor:
    """By what dropout multiplies each weight: 0, or 1 / (1 - dropout); the same for the same seed."""
    dice = torch.Generator(weights.device).manual_seed(seed)
    kept = torch.rand(weights.shape, generator=dice, device=weights.device) >= dropout
    return kept.to(weights.dtype) / (1 - dropout)


class _Blocks:
    """Where each token of packed texts is in blocks `(texts, kv_heads, rows, size)` padded to the longest.

    The query heads of a key and value head follow each other, `heads / kv_heads · longest` rows.
    """

    def __init__(
        self, bounds: Tensor, longest: int, heads: int, kv_heads: int, causal: bool, window: int | None
    ) -> None:
        device = bounds.device
        lengths = bounds[1:] - bounds[:-1]
        self.texts, self.longest, self.heads, self.kv_heads = len(lengths), longest, heads, kv_heads
        own = torch.repeat_interleave(torch.arange(self.texts, device=device), lengths)
        self.place = torch.arange(len(own), device=device) - bounds[own] + own * longest
        positions = torch.arange(longest, device=device)
        away = positions - positions[:, None]
        if causal:  # padding follows the text, where no token of it attends to
            hidden = away > 0 if window is None else (away > 0) | (away <= -window)
            self.hidden = hidden.repeat(heads // kv_heads, 1)
        else:
            filler = positions >= lengths[:, None]
            self.hidden = filler[:, None, None]
            if window is not None:  # padding attends to every token: a softmax over none would be NaN
                far = (away.abs() >= window) & ~filler[:, :, None]
                self.hidden = self.hidden | far.repeat(1, heads // kv_heads, 1)[:, None]

    def of_queries(self, states: Tensor) -> Tensor:
        """`(1, heads, all tokens, size)` as a block."""
        return self.of_keys(states).reshape(self.texts, self.kv_heads, -1, states.shape[-1])

    def of_keys(self, states: Tensor) -> Tensor:
        """`(1, kv_heads, all tokens, size)` as a block."""
        rows = states[0].transpose(0, 1)
        padded = rows.new_zeros(self.texts * self.longest, *rows.shape[1:]).index_copy_(0, self.place, rows)
        return padded.view(self.texts, self.longest, *rows.shape[1:]).transpose(1, 2)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """The softmax of all scores, `(texts, kv_heads, heads / kv_heads · longest, longest)`."""
        scores = (q @ k.transpose(-1, -2)).masked_fill_(self.hidden, float("-inf"))
        return functional.softmax(scores, dim=-1)

    def rows(self, block: Tensor) -> Tensor:
        """A block of queries as `(all tokens, heads, size)`."""
        return self._unpadded(block.view(self.texts, self.heads, self.longest, -1))

    def key_rows(self, block: Tensor) -> Tensor:
        """A block of keys as `(1, kv_heads, all tokens, size)`."""
        return self._unpadded(block).transpose(0, 1)[None]

    def _unpadded(self, block: Tensor) -> Tensor:
        rows = block.transpose(1, 2).reshape(-1, block.shape[1], block.shape[-1])
        return rows.index_select(0, self.place)


def _mask(*, attention_mask: Tensor | None = None, **others: Any) -> Tensor | None:
    """The stock mask for padded features; packed ones need none."""
    return None if attention_mask is None else sdpa_mask(attention_mask=attention_mask, **others)


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _mask)


# Between packed and padded vectors in float32: rounding gives up to 3e-5 (Qwen2.5-Coder-0.5B on AVX-512), and
# layers that lose their sliding window 0.3.
_ALLOWED = 3e-4


def use_packing(model: CodeEmbedder) -> str | None:
    """Let the model take packed features; returns None, or the reason why it cannot.

    Whether an architecture computes the same is not looked up but tried: three texts, packed and padded,
    must give the same vectors, and one of them is longer than every window or chunk that the configuration
    names. An architecture that fails on packed texts is left as it was too. Padded features work as before.
    A decoder with last-token pooling skips what is not read (`LastRows`), if that too gives the same.
    """
    if static_module(model) is not None:
        return None  # it takes nothing else
    transformer: Any = model[0]
    name = type(transformer.model).__name__
    before = transformer.model.config._attn_implementation
    rows = _trial_texts(model)
    with _float32(model):
        expected = embedded(model, padded(rows))
    try:
        transformer.model.set_attn_implementation(NAME)
    except (ValueError, AttributeError) as error:
        return f"{name} does not let its attention be exchanged: {error}"
    parameters = transformer.model_forward_params
    if parameters is not None:
        transformer.model_forward_params = parameters | _PACKED_FEATURES

    def difference() -> float:
        with _float32(model):
            found = embedded(model, packed(rows, position_offset(model)))
        return float((found - expected).abs().max())

    def left_as_it_was(why: str) -> str:
        transformer.model.set_attn_implementation(before)
        transformer.model_forward_params = parameters
        return why

    try:
        most = difference()
    except Exception as error:  # of any architecture: convolutions, kernels that are missing, a bias
        words = " ".join(str(error).split())
        return left_as_it_was(f"{name} does not take packed texts ({type(error).__name__}: {words})")
    if not most <= _ALLOWED:
        return left_as_it_was(f"packed and padded vectors of {name} differ by {most:.1g}")
    if isinstance(model[1], LastTokenPooling):
        try:
            last_rows = LastRows(transformer.model.layers[-1])
        except AttributeError:
            return None  # an architecture with other names; it computes all rows
        if difference() > _ALLOWED:
            last_rows.remove()
    return None


@contextmanager
def _float32(model: CodeEmbedder) -> Iterator[None]:
    """Within the block the weights are float32, whatever type they are stored in.

    In bfloat16 the same sums in another order move a vector of Qwen2.5-Coder-0.5B by 0.1: more than an
    architecture that packs wrongly may.
    """
    stored = [
        (tensor, tensor.data)
        for tensor in (*model.parameters(), *model.buffers())
        if tensor.is_floating_point() and tensor.dtype != torch.float32
    ]
    try:
        for tensor, data in stored:
            tensor.data = data.float()
        yield
    finally:
        for tensor, data in stored:
            tensor.data = data


def position_offset(model: CodeEmbedder) -> int:
    """The position of a text's first token: 0, or `padding_idx + 1` in models of RoBERTa's family."""
    if static_module(model) is not None:
        return 0
    transformer: Any = model[0]
    # Private: what sentence-transformers (read in 6.2.0) adds to positions when it packs for flash attention.
    return int(transformer._infer_flatten_position_offset())


def _trial_texts(model: CodeEmbedder) -> list[list[int]]:
    """Token ids of texts of 8 and 60 tokens, and of 240 or 60 more than the longest window or chunk has.

    No text is longer than the model takes; a window that is not shorter than that reaches over every text.
    """
    transformer: Any = model[0]
    limit = transformer.max_seq_length or 10**9
    longest = 60 + max(
        (span for span in spans(transformer.model.config.to_dict()) if span < limit), default=0
    )
    longest = min(max(240, longest), limit)
    draw = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, len(transformer.tokenizer), (length,), generator=draw).tolist()
        for length in (8, 60, longest)
        if length <= longest
    ]


def embedded(model: CodeEmbedder, features: dict[str, Any]) -> Tensor:
    """The vectors of `packed` or `padded` texts, `(texts, dim)` in float32, without gradient."""
    with training_mode(model, False), torch.no_grad():
        vectors: Tensor = model(to_device(features, model.device))["sentence_embedding"].float()
    return vectors


@contextmanager
def training_mode(model: nn.Module, mode: bool) -> Iterator[None]:
    """Within the block all of `model` is in training mode, or none of it; then each module as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(mode)
    yield
    for module, training in modes:
        module.training = training


def to_device(features: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The same features, their tensors on `device`."""
    return {
        name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()
    }


Ids = Sequence[int] | npt.NDArray[Any]


def padded(texts: Sequence[Ids], pad_id: int = 0) -> dict[str, Any]:
    """`input_ids` and `attention_mask`, int64, `(texts, longest)`, filled up on the right with `pad_id`."""
    lengths = np.array([len(text) for text in texts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    filled = np.full(mask.shape, pad_id, dtype=np.int64)
    filled[mask] = np.concatenate(texts)
    return {
        "input_ids": torch.from_numpy(filled),
        "attention_mask": torch.from_numpy(mask).long(),
        "modality": "text",
    }


def packed(texts: Sequence[Ids], offset: int = 0) -> dict[str, Any]:
    """All texts in one row: what transformers' DataCollatorWithFlattening makes, without its Python lists.

    Arguments: `offset`, the position of a text's first token.

    Returns `input_ids`, `position_ids` and `seq_idx`, which text a token is of, `(1, all tokens)`; where
    texts begin and end, `cu_seq_lens_q` and `_k (texts + 1,)`; `max_length_q` and `_k`.
    """
    lengths = np.array([len(text) for text in texts])
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    positions = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths) + offset
    bounds = torch.from_numpy(ends)
    return {
        "input_ids": torch.from_numpy(np.concatenate(texts).astype(np.int64))[None],
        "position_ids": torch.from_numpy(positions.astype(np.int64))[None],
        "seq_idx": torch.from_numpy(np.repeat(np.arange(len(texts), dtype=np.int32), lengths))[None],
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": int(lengths.max()),
        "max_length_k": int(lengths.max()),
        "modality": "text",
    }
