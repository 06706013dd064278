"""Linear layers in 8-bit integers: scales of inputs are set by a few texts, those of weights by the weights.

`x W` is computed as `(x / s) (s W)`, where `s` is 1 but for the few channels of `x` that are far larger than
the others (SmoothQuant, arXiv 2211.10438): rounded to one scale, they would leave the others few steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from codequarry.inference.runtime.linear import Affine

# A channel of the input may be this many times as large as the median channel; a larger one is divided.
# Vectors of mini: a mean cosine of 0.9970 to those in float32, 0.9953 undivided (benchmarks/LOG.md).
_LARGEST = 2.0

_TINY = 1e-8  # the step of a range without width
_MIDDLE = 128  # the zero of a range that is as wide on either side


@dataclass(frozen=True)
class Scale:
    """`x ≈ step · (q - zero)` with `q` from 0 to 255."""

    step: float
    zero: int


_ROW = Scale(1 / 127, _MIDDLE)  # of a row divided by its largest number


def scale_of(low: float, high: float) -> Scale:
    """The scale for numbers from `low` to `high`, 0 among them, which stays exact.

    >>> scale_of(-1.0, 254.0)
    Scale(step=1.0, zero=1)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / 255, _TINY)
    return Scale(step, round(-low / step))


class Calibration:
    """The ranges of each layer's inputs, and layers in integers that are made by them.

    First a model is made with `observed` layers and computes texts; then it is made anew with `in_int8`.
    """

    def __init__(self) -> None:
        self._lowest: dict[str, Tensor] = {}
        self._highest: dict[str, Tensor] = {}

    def observed(self, affine: Affine) -> Callable[[Tensor], Tensor]:
        """The layer in float32, on the weights that are in memory, which notes the range of each channel."""
        name = affine.name
        none: list[Tensor | None] = [None] * len(affine.weights)
        biases = none if affine.biases is None else list(affine.biases)

        def product(x: Tensor) -> Tensor:
            low, high = torch.aminmax(x, dim=0)
            self._lowest[name] = torch.minimum(self._lowest.get(name, low), low)
            self._highest[name] = torch.maximum(self._highest.get(name, high), high)
            whole = _side_by_side(
                [
                    functional.linear(x, weight.float(), None if bias is None else bias.float())
                    for weight, bias in zip(affine.weights, biases, strict=True)
                ]
            )
            return functional.gelu(whole) if affine.activation == "gelu" else whole

        return product

    def in_int8(self, affine: Affine) -> "Int8Linear":
        """The layer in integers."""
        if affine.uneven:
            return Int8Linear(affine)
        lowest, highest = self._lowest[affine.name], self._highest[affine.name]
        largest = torch.maximum(highest, -lowest)
        divisor = (largest / (_LARGEST * largest.median()).clamp(min=_TINY)).clamp(min=1.0)
        return Int8Linear(
            affine, scale_of(float((lowest / divisor).min()), float((highest / divisor).max())), divisor
        )


class Int8Linear:
    """An `Affine` with input and weights in 8 bits, sums in 32, and the result in float32.

    Arguments:
        affine: what is computed; each output has a scale of its own for its weights.
        scale: of the input; numbers beyond it are cut to its ends. None gives each row the scale of its
            largest number, which costs a further pass over input and result; then there is no activation.
        divisor: of each channel of the input, `(in,)`; None for none.

    Shapes: `(rows, in)` to `(rows, sum of out)`.

    The operations of oneDNN are private to torch (read in 2.13, which calls them for models that its
    quantizer wrote). Sums of integers are exact, so a row's result does not depend on the others.
    """

    def __init__(self, affine: Affine, scale: Scale | None = None, divisor: Tensor | None = None) -> None:
        assert scale is not None or affine.activation == "none"
        biases = affine.biases
        self._bias = None if biases is None else _side_by_side([one.float() for one in biases])
        rounded, steps = zip(*(_rounded(one, divisor) for one in affine.weights), strict=True)
        self._steps = torch.cat(steps)
        self._zeros = torch.zeros(len(self._steps), dtype=torch.int32)
        operations: Any = torch.ops.onednn
        self._packed: Tensor = operations.qlinear_prepack(torch.cat(rounded), None)
        self._activation, self._scale = affine.activation, scale
        if scale is not None:
            ones = torch.ones(affine.weights[0].shape[1]) if divisor is None else divisor
            self._factor = 1 / (scale.step * ones)
            self._shift = torch.full_like(self._factor, scale.zero - _MIDDLE)

    def __call__(self, x: Tensor) -> Tensor:
        if self._scale is None:
            return self._by_row(x)
        whole = _unsigned(torch.addcmul(self._shift, x, self._factor).round_().clamp_(-128, 127))
        return self._product(whole, self._scale, self._bias)

    def _by_row(self, x: Tensor) -> Tensor:
        largest = torch.maximum(x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True).neg_())
        largest.clamp_(min=_TINY)
        whole = _unsigned(torch.mul(x, 127 / largest).round_())
        found = self._product(whole, _ROW, None)
        return found.mul_(largest) if self._bias is None else torch.addcmul(self._bias, found, largest)

    def _product(self, x: Tensor, scale: Scale, bias: Tensor | None) -> Tensor:
        operations: Any = torch.ops.onednn
        found: Tensor = operations.qlinear_pointwise(
            x, scale.step, scale.zero, self._packed, self._steps, self._zeros, bias,
            1.0, 0, torch.float32, self._activation, [], "none",
        )  # fmt: skip
        return found


def is_supported() -> bool:
    """Whether this torch has the operations, as `Int8Linear` calls them."""
    try:
        found = Int8Linear(Affine("one", [torch.ones(4, 4)]))(torch.ones(1, 4))
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
    return bool((found - 4).abs().max() < 0.1)


def _rounded(weight: Tensor, divisor: Tensor | None) -> tuple[Tensor, Tensor]:
    """A matrix in 8 bits, and the step of each row."""
    whole = weight.float() if divisor is None else weight * divisor
    low, high = torch.aminmax(whole, dim=1)
    steps = (torch.maximum(-low, high) / 127).clamp_(min=_TINY)
    return torch.div(whole, steps[:, None]).round_().to(torch.int8), steps


def _unsigned(x: Tensor) -> Tensor:
    """Whole numbers from -128 to 127 as 0 to 255; torch converts to signed bytes in a quarter of the time."""
    return x.to(torch.int8).view(torch.uint8).bitwise_xor_(_MIDDLE)


def _side_by_side(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
