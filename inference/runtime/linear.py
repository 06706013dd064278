"""A linear layer with its weights as the processor reads them fastest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Activation = Literal["none", "gelu"]

# Bytes of a backbone's weights that are copied in float32: merged and reordered, products are 12% faster on
# AVX-512 (benchmarks/LOG.md). A larger model computes with the weights that are in memory already.
COPIED_AT_MOST = 256 << 20

# In batch-invariant mode every product has this number of rows.
FIXED_ROWS = 64


@dataclass(frozen=True)
class Affine:
    """`x W₁ᵀ + b₁, x W₂ᵀ + b₂, …` side by side, what a linear layer computes.

    name: in the model, of the first. weights: each `(out, in)`. biases: one for each; None for none.
    activation: applied to the result; `gelu` is the exact one.

    uneven: whether rows of the input differ so much in size that each needs a scale of its own in 8-bit
    integers, as they do where no norm stands in front.
    """

    name: str
    weights: Sequence[Tensor]
    biases: Sequence[Tensor] | None = None
    activation: Activation = "none"
    uneven: bool = False


MakeLinear = Callable[[Affine], Callable[[Tensor], Tensor]]


class Linear:
    """An `Affine` as one product where its weights may be copied.

    Arguments:
        affine: what is computed.
        dtype: to compute in, float32 or bfloat16.
        copy: whether to hold merged weights of our own, in oneDNN's order. False keeps those given, which
            then must have `dtype`; bfloat16 copies always.
        fixed_rows: rows of each product, the last filled up with zeros, so that a row's result does not
            depend on how many there are; None for all rows at once.

    Shapes: `(rows, in)` to `(rows, sum of out)`.

    The two operations of oneDNN are private to torch (read in 2.13, which calls them in frozen graphs of its
    compiler); without them, or where oneDNN does not take the weights, `functional.linear` computes the same.
    """

    def __init__(
        self,
        affine: Affine,
        dtype: torch.dtype,
        *,
        copy: bool = True,
        fixed_rows: int | None = None,
    ) -> None:
        weights, biases = affine.weights, affine.biases
        self.activation = affine.activation
        self.fixed_rows = fixed_rows
        self._packed: Tensor | None = None
        if not copy and all(weight.dtype == dtype for weight in weights):
            none: list[Tensor | None] = [None] * len(weights)
            self._parts = list(zip(weights, none if biases is None else list(biases), strict=True))
            return
        merged = torch.cat([weight.to(dtype) for weight in weights])
        bias = None if biases is None else torch.cat([one.to(dtype) for one in biases])
        self._bias = bias
        self._packed = _reordered(merged)
        self._parts = [] if self._packed is not None else [(merged, bias)]

    def __call__(self, x: Tensor) -> Tensor:
        if self.fixed_rows is None:
            return self._product(x)
        rows = len(x)
        blocks = []
        for start in range(0, rows, self.fixed_rows):
            block = x[start : start + self.fixed_rows]
            missing = self.fixed_rows - len(block)
            if missing:
                block = torch.cat([block, block.new_zeros(missing, block.shape[1])])
            blocks.append(self._product(block))
        whole = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        return whole[:rows]

    def _product(self, x: Tensor) -> Tensor:
        if self._packed is not None:
            return _onednn(x, self._packed, self._bias, self.activation)
        outputs = [functional.linear(x, weight, bias) for weight, bias in self._parts]
        whole = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return functional.gelu(whole) if self.activation == "gelu" else whole


def _onednn(x: Tensor, packed: Tensor, bias: Tensor | None, activation: Activation) -> Tensor:
    operations: Any = torch.ops.mkldnn
    found: Tensor = operations._linear_pointwise(x, packed, bias, activation, [], "none")
    return found


def _reordered(weight: Tensor) -> Tensor | None:
    """The weights in oneDNN's order; None where this torch has no such operation, or refuses these."""
    operations: Any = torch.ops.mkldnn
    onednn: Any = torch.backends.mkldnn
    if weight.device.type != "cpu" or not onednn.is_available():
        return None
    try:
        packed: Tensor = operations._reorder_linear_weight(weight.contiguous(), None)
        _onednn(weight.new_zeros(1, weight.shape[1]), packed, None, "gelu")
    except (AttributeError, RuntimeError):
        return None
    return packed
