"""In which number format a step computes: bf16 where the hardware has it, float16 only where it is safe.

float16 ends at 65,504. Some architectures have larger activations, which become infinite and the loss NaN,
often only for a few texts and after hours. bf16 has float32's range.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codequarry.common.environment import has_fast_bf16
from codequarry.common.errors import UserError
from codequarry.common.files import read_rows

if TYPE_CHECKING:
    from torch import Tensor

Precision = Literal["auto", "bf16", "fp16", "fp32"]

Compute = Literal["bf16", "fp16", "fp32"]

WeightsDtype = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Float16Overflow:
    """An architecture that is known to leave float16's range.

    architecture: `model_type` in its config.json.
    seen: what was seen, in words that end a sentence.
    source: where.
    """

    architecture: str
    seen: str
    source: str


FLOAT16_OVERFLOWS = read_rows(Path(__file__).with_name("float16_overflows.toml"), Float16Overflow)


def check_float16(architecture: str) -> None:
    """Raise UserError for an architecture (`config.model_type`) that is known to overflow in float16."""
    for row in FLOAT16_OVERFLOWS:
        if row.architecture == architecture:
            raise UserError(
                f"precision = 'fp16' with a {architecture} backbone: {row.seen} ({row.source}). "
                "Pass precision = 'bf16', or 'fp32' where the hardware has no bf16."
            )


def chosen_precision(
    precision: Precision, *, device: str, architecture: str, weights: WeightsDtype = "auto"
) -> Compute:
    """What a step computes in.

    Arguments:
        precision: `auto` is bf16 where the device is faster at it, else fp32; never fp16.
        device: `cpu`, `cuda`, …
        architecture: `model_type` of the backbone's configuration.
        weights: of the recipe; with `bfloat16` a step computes in bf16, however slow.

    bf16 on a processor without fast instructions for it takes 1.7 to 20 times as long as fp32 and computes
    nothing better: there it is fp32, as `auto` would choose, and `precision_line` says so.

    Raises UserError for fp16 on anything but a CUDA device or with an architecture that overflows in it,
    and for bf16 on a CUDA device that only emulates it.

    >>> chosen_precision("auto", device="cpu", architecture="qwen2")
    """
    if precision == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    if precision == "fp16":
        check_float16(architecture)
        if not device.startswith("cuda"):
            raise UserError(
                f"precision = 'fp16' on {device}: float16 trains on CUDA devices only. Pass 'bf16' or 'fp32'."
            )
    if precision == "bf16" and device.startswith("cuda") and not has_fast_bf16(device):
        safe = all(row.architecture != architecture for row in FLOAT16_OVERFLOWS)
        instead = "'fp32' or 'fp16'" if safe else "'fp32'"
        raise UserError(f"precision = 'bf16', which this GPU only emulates: pass {instead}.")
    if precision == "bf16" and weights != "bfloat16" and not has_fast_bf16(device):
        return "fp32"
    return precision


def precision_line(precision: Precision, compute: Compute, *, device: str) -> str | None:
    """A sentence where a step does not compute in what the recipe says, or slowly; None elsewhere.

    Arguments: `compute`, what `chosen_precision` gave for `precision`.
    """
    if precision != "bf16" or has_fast_bf16(device):
        return None
    slow = f"precision = 'bf16', and this {'processor' if device == 'cpu' else device} has no fast bf16"
    if compute == "fp32":
        return f"{slow}: the run computes in fp32, as precision = 'auto' chooses here."
    return (
        f"{slow}: a step takes 1.7 to 20 times as long as in fp32. weights = 'bfloat16' needs it; pass "
        "weights = 'float32' for fp32."
    )


def stored_weights(
    weights: WeightsDtype, precision: Precision, *, device: str, frozen: bool
) -> Literal["float32", "bfloat16"]:
    """The type that a model's weights have in memory.

    Arguments:
        weights: `auto` is bfloat16 for frozen weights of a step that computes in bf16, else float32.
        precision: of a recipe, see `chosen_precision`.
        frozen: whether an adapter is trained on them.
    """
    if weights != "auto":
        return weights
    in_bf16 = precision in ("bf16", "auto") and has_fast_bf16(device)
    return "bfloat16" if frozen and in_bf16 else "float32"


def check_weights(weights: WeightsDtype, precision: Precision) -> None:
    """Raise UserError for weights in bf16 under a precision that they cannot be computed in.

    AdamW's two moments have the type of the weights: 6 bytes per weight in bf16, 12 in float32. But bf16 has
    eight bits, and a step of 1e-5 is often less than half the last of them: of 10⁶ weights drawn from
    N(0, 0.02²), 8% changed in a step, and after 100 steps their sum of steps had cosine 0.37 with that of
    float32 ones (measured; 0.91 at 1e-4). Where memory is short, freeze them and train a LoRA adapter, whose
    weights are float32.
    """
    if weights == "bfloat16" and precision in ("fp16", "fp32"):
        raise UserError(
            f"weights = 'bfloat16' with precision = {precision!r}: weights in bf16 compute in bf16. Pass "
            "precision = 'bf16', or weights = 'float32'."
        )


# Rows, inner size, columns: of few and many tokens, forward, and the long sums of a weight's gradient.
_SHAPES = ((1, 384, 384), (33, 384, 1024), (512, 896, 128), (384, 4096, 384))

_ALLOWED = 1e-5  # of the largest result; float32 is at 1e-6 here, bf16 at 1e-3


def use_fast_fp32() -> bool:
    """Switch this process to oneDNN's float32 products if they are exact, and say whether they are."""
    import torch

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
    import torch

    draw = torch.Generator().manual_seed(0)
    worst = 0.0
    for rows, inner, columns in _SHAPES:
        left = torch.randn(rows, inner, generator=draw)
        right = torch.randn(inner, columns, generator=draw)
        exact = left.double() @ right.double()
        for found in _products(left, right):
            worst = max(worst, float((found - exact).abs().max() / exact.abs().max()))
    return worst


def _products(left: "Tensor", right: "Tensor") -> "list[Tensor]":
    """The same product, by the operations and memory layouts that a training step uses."""
    import torch

    transposed = right.T.contiguous()
    return [
        left @ right,
        torch.nn.functional.linear(left, transposed),
        torch.addmm(left.new_zeros(right.shape[1]), left, transposed.T),
        torch.bmm(left[None], right[None])[0],
        (transposed @ left.T).T,
    ]
