"""Multiply float32 matrices by oneDNN where it is as exact as MKL, which is slow on some processors.

On an AMD EPYC with AVX-512, one thread, torch's default (MKL) reaches 93 GFLOP/s and oneDNN, which torch
brings too, 208. torch hands float32 products to oneDNN only when told that bf16 would be good enough, and
what oneDNN makes of that word depends on the processor: with AMX it may round to bf16, without it computes in
float32. So the word is given, a few products are compared with float64, and it is taken back where they were
rounded.
"""

from typing import Any

import torch
from torch import Tensor

# Rows, inner size, columns: of few and many tokens, forward, and the long sums of a weight's gradient.
_SHAPES = ((1, 384, 384), (33, 384, 1024), (512, 896, 128), (384, 4096, 384))
_ALLOWED = 1e-5  # of the largest result; float32 is at 1e-6 here, bf16 at 1e-3


def use_fast_fp32() -> bool:
    """Switch this process to oneDNN's float32 products if they are exact, and say whether they are."""
    onednn: Any = torch.backends.mkldnn
    matmul = onednn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    if _error() <= _ALLOWED:
        return True
    matmul.fp32_precision = before
    return False


def _error() -> float:
    """The largest difference from float64 products, relative to the largest number of each."""
    draw = torch.Generator().manual_seed(0)
    worst = 0.0
    for rows, inner, columns in _SHAPES:
        left = torch.randn(rows, inner, generator=draw)
        right = torch.randn(inner, columns, generator=draw)
        exact = left.double() @ right.double()
        for found in _products(left, right):
            worst = max(worst, float((found - exact).abs().max() / exact.abs().max()))
    return worst


def _products(left: Tensor, right: Tensor) -> list[Tensor]:
    """The same product, by the operations and memory layouts that a training step uses."""
    transposed = right.T.contiguous()
    return [
        left @ right,
        torch.nn.functional.linear(left, transposed),
        torch.addmm(left.new_zeros(right.shape[1]), left, transposed.T),
        torch.bmm(left[None], right[None])[0],
        (transposed @ left.T).T,
    ]
