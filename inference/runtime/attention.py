"""Attention inside each text of packed rows: texts of one length are one batched call, without a mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Rows of a group from which two products are faster than torch's fused attention in bfloat16: a query of 20
# tokens takes 0.07 ms and 0.05 ms, a text of 174 tokens 0.8 ms and 1.1 ms (AVX-512, 12 heads of 32). Below
# it is faster in float32, by 0.03 ms.
_ROWS_OF_TWO_PRODUCTS = 64

# Elements of the scores that are computed at once where they are written to memory: 4 MB in bfloat16.
_SCORES_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Group:
    """Neighbouring texts of one length. start: the first row; texts: how many; length: tokens of each."""

    start: int
    texts: int
    length: int

    @property
    def end(self) -> int:
        """The row behind the last."""
        return self.start + self.texts * self.length


def groups_of(lengths: Sequence[int]) -> list[Group]:
    """Runs of equal lengths, in their order.

    >>> groups_of([2, 2, 5])
    [Group(start=0, texts=2, length=2), Group(start=4, texts=1, length=5)]
    """
    found: list[Group] = []
    for length in lengths:
        if found and found[-1].length == length:
            found[-1] = Group(found[-1].start, found[-1].texts + 1, length)
        else:
            found.append(Group(found[-1].end if found else 0, 1, length))
    return found


@dataclass(frozen=True)
class Heads:
    """Query heads, key and value heads, and the size of each."""

    queries: int
    keys: int
    size: int


@dataclass(frozen=True)
class Prefix:
    """Keys and values of tokens in front of every text, `(kv_heads, tokens, size)`, in one layer."""

    keys: Tensor
    values: Tensor


def attend(
    qkv: Tensor,
    groups: Sequence[Group],
    heads: Heads,
    *,
    causal: bool,
    prefix: Prefix | None = None,
    fused: bool = False,
) -> Tensor:
    """`softmax(Q Kᵀ / √size) V` inside each text.

    Arguments: `prefix`, which every token attends to as well; needs `causal`. `fused` uses torch's fused
    attention for all lengths and types, whose result for a text does not depend on the others.

    Shapes: `qkv (rows, (queries + 2 keys) · size)` to `(rows, queries · size)`.
    """
    parts = [_attend(qkv[group.start : group.end], group, heads, causal, prefix, fused) for group in groups]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _attend(
    qkv: Tensor, group: Group, heads: Heads, causal: bool, prefix: Prefix | None, fused: bool
) -> Tensor:
    states = qkv.view(group.texts, group.length, heads.queries + 2 * heads.keys, heads.size).transpose(1, 2)
    query, key, value = torch.split(states, [heads.queries, heads.keys, heads.keys], dim=1)
    before = 0
    if prefix is not None:
        before = prefix.keys.shape[1]
        key, value = (_behind(one, two) for one, two in ((prefix.keys, key), (prefix.values, value)))
        # torch aligns a causal mask at the first key: rows of zeros stand for the prefix's own queries.
        query = _behind(query.new_zeros(heads.queries, before, heads.size), query)
    if qkv.dtype == torch.bfloat16 and not causal and not fused:
        if len(qkv) < _ROWS_OF_TWO_PRODUCTS:
            whole = _attend(qkv.float(), group, heads, causal, prefix, fused)
            return whole.to(qkv.dtype)
        attended = _in_two_products(query, key, value)
    else:
        attended = functional.scaled_dot_product_attention(
            query, key, value, is_causal=causal, enable_gqa=heads.keys != heads.queries
        )
    return attended[:, :, before:].transpose(1, 2).reshape(len(qkv), -1)


def _behind(first: Tensor, rest: Tensor) -> Tensor:
    """`first (heads, tokens, size)` in front of each of `rest (texts, heads, tokens, size)`."""
    return torch.cat([first.to(rest.dtype).expand(len(rest), -1, -1, -1), rest], dim=2)


def _in_two_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    texts, heads, length, size = query.shape
    at_once = max(1, _SCORES_AT_ONCE // (heads * length * length))
    blocks = []
    for start in range(0, texts, at_once):
        q, k, v = (one[start : start + at_once].reshape(-1, length, size) for one in (query, key, value))
        nothing = q.new_empty(1, 1, 1)
        scores = torch.baddbmm(nothing, q, k.transpose(1, 2), beta=0, alpha=size**-0.5)
        blocks.append(torch.bmm(torch.softmax(scores, dim=-1), v))
    whole = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
    return whole.view(texts, heads, length, size)


def attend_last(
    query: Tensor, keys_values: Tensor, groups: Sequence[Group], heads: Heads, prefix: Prefix | None = None
) -> Tensor:
    """Attention of one token of each text to all tokens of it.

    Shapes: `query (texts, queries · size)` and `keys_values (rows, 2 keys · size)` to
    `(texts, queries · size)`.
    """
    parts, first = [], 0
    for group in groups:
        q = query[first : first + group.texts].view(group.texts, heads.queries, 1, heads.size)
        states = keys_values[group.start : group.end].view(
            group.texts, group.length, 2 * heads.keys, heads.size
        )
        key, value = torch.split(states.transpose(1, 2), heads.keys, dim=1)
        if prefix is not None:
            key, value = _behind(prefix.keys, key), _behind(prefix.values, value)
        grouped = heads.keys != heads.queries
        attended = functional.scaled_dot_product_attention(q, key, value, enable_gqa=grouped)
        parts.append(attended.reshape(group.texts, -1))
        first += group.texts
    return parts[0] if len(parts) == 1 else torch.cat(parts)
