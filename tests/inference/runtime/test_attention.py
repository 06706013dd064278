"""Attention over packed texts against torch's, one text at a time with an explicit mask."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from codequarry.inference.runtime import attention
from codequarry.inference.runtime.attention import Heads, Prefix, attend, attend_last, groups_of

LENGTHS = [1, 3, 3, 3, 8, 20, 20]


def alone(qkv: Tensor, heads: Heads, causal: bool) -> list[Tensor]:
    """What each text's rows give, `(length, queries · size)`."""
    ends = [0, *torch.tensor(LENGTHS).cumsum(0).tolist()]
    found = []
    for start, end in pairwise(ends):
        states = qkv[start:end].view(end - start, -1, heads.size).transpose(0, 1)
        query, key, value = states.split([heads.queries, heads.keys, heads.keys])
        seen = torch.ones(end - start, end - start, dtype=torch.bool)
        seen = seen.tril() if causal else seen
        repeats = heads.queries // heads.keys
        key, value = (one.repeat_interleave(repeats, 0) for one in (key, value))
        attended = scaled_dot_product_attention(query, key, value, attn_mask=seen)
        found.append(attended.transpose(0, 1).reshape(end - start, -1))
    return found


def states(heads: Heads, dtype: torch.dtype = torch.float32) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(sum(LENGTHS), (heads.queries + 2 * heads.keys) * heads.size, generator=draw).to(dtype)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [Heads(4, 4, 8), Heads(4, 2, 8)])
def test_a_text_attends_to_itself_alone(heads: Heads, causal: bool) -> None:
    if not causal and heads.keys != heads.queries:
        pytest.skip("no encoder here shares keys")
    qkv = states(heads)
    found = attend(qkv, groups_of(LENGTHS), heads, causal=causal)
    assert (found - torch.cat(alone(qkv, heads, causal))).abs().max() < 1e-6


@pytest.mark.parametrize("at_once", [1, 1 << 21])
def test_two_products_in_bfloat16_are_attention(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_SCORES_AT_ONCE", at_once)
    monkeypatch.setattr(attention, "_ROWS_OF_TWO_PRODUCTS", 1)
    heads = Heads(4, 4, 8)
    qkv = states(heads, torch.bfloat16)
    found = attend(qkv, groups_of(LENGTHS), heads, causal=False).float()
    assert (found - torch.cat(alone(qkv.float(), heads, False))).abs().max() < 0.03


def test_the_last_tokens_attend_as_they_do_among_all() -> None:
    heads = Heads(4, 2, 8)
    qkv = states(heads)
    last = torch.tensor(LENGTHS).cumsum(0) - 1
    found = attend_last(qkv[last][:, :32], qkv[:, 32:], groups_of(LENGTHS), heads)
    expected = torch.stack([text[-1] for text in alone(qkv, heads, True)])
    assert (found - expected).abs().max() < 1e-6


def test_a_prefix_stands_in_front_of_every_text() -> None:
    heads = Heads(4, 2, 8)
    whole = states(heads)
    before, rest = whole[:5], whole[5:25]
    keys, values = before.view(5, -1, 8).transpose(0, 1)[4:].split([2, 2])
    prefix = Prefix(keys.contiguous(), values.contiguous())
    groups = groups_of([20])
    expected = attend(whole[:25], groups_of([25]), heads, causal=True)[5:]
    assert (attend(rest, groups, heads, causal=True, prefix=prefix) - expected).abs().max() < 1e-6
    last = attend_last(rest[-1:, :32], rest[:, 32:], groups, heads, prefix)
    assert (last - expected[-1]).abs().max() < 1e-6
