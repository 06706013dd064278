"""Selective activation recomputation: keep a step's large elementwise results out of memory.

Of what a decoder's layer keeps for the backward pass, norms, activation and gate are cheap to compute and as
large as what is expensive (Korthikanti et al. 2022, arXiv 2205.05198). So they are computed again from inputs
that are kept anyway. Such a result has a `recomputation`, and the linear layers of `lora_linear.py`, which
need it a second time, keep the inputs of that instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


@dataclass(frozen=True)
class Recomputation:
    """How a tensor is computed again: `compute(*inputs)`; the inputs carry no gradient of their own."""

    compute: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]


def recomputation_of(tensor: Tensor) -> Recomputation | None:
    """How to compute `tensor` again, where a function of this file made it; else None."""
    recomputation: Recomputation | None = getattr(tensor, "recomputation", None)
    return recomputation


def recompute_elementwise(model: nn.Module) -> list[str]:
    """Replace the forward pass of every RMS norm and gated MLP that this file computes equally.

    Whether a module is one is tried, not looked up: on random input, output and gradient must equal the
    module's own. One that differs (Gemma's norm adds 1 to its weights, its gate is a GELU) stays as it is.
    Without gradients the stock forward pass runs.

    Returns the names of the modules that were replaced.
    """
    replaced = []
    for name, module in model.named_modules():
        if hasattr(module, "variance_epsilon"):
            make = _rms_norm
        elif all(hasattr(module, part) for part in ("gate_proj", "up_proj", "down_proj", "act_fn")):
            make = _gated_mlp
        else:
            continue
        stock = module.forward
        forward = make(module)
        if _equal(module, stock, forward):
            module.forward = _with_gradients_only(forward, stock)
            replaced.append(name)
    return replaced


def _with_gradients_only(
    forward: Callable[[Tensor], Tensor], stock: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    def chosen(states: Tensor) -> Tensor:
        return forward(states) if torch.is_grad_enabled() else stock(states)

    return chosen


def _equal(module: nn.Module, stock: Callable[..., Tensor], forward: Callable[..., Tensor]) -> bool:
    """Whether two forward passes of a module have the same output and input gradient on random input."""
    weight = next(module.parameters())
    size = weight.shape[-1]
    draw = torch.Generator().manual_seed(0)
    states, towards = (torch.randn(3, size, generator=draw).to(weight.device, weight.dtype) for _ in range(2))
    found = []
    for one in (stock, forward):
        states = states.detach().requires_grad_()
        with torch.enable_grad():
            output = one(states)
            (gradient,) = torch.autograd.grad(output, states, towards)
        found.append((output.detach().float(), gradient.float()))
    allowed = 1e-5 if weight.dtype == torch.float32 else 2e-2
    return all(
        bool((ours - theirs).abs().max() <= allowed * theirs.abs().max())
        for theirs, ours in zip(*found, strict=True)
    )


def _rms_norm(module: Any) -> Callable[[Tensor], Tensor]:
    def forward(states: Tensor) -> Tensor:
        output, scale = _RMSNorm.apply(states, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
        output.recomputation = Recomputation(_normalised, (states.detach(), scale, module.weight.detach()))
        return output  # type: ignore[no-any-return]

    return forward


def _gated_mlp(module: Any) -> Callable[[Tensor], Tensor]:
    def forward(states: Tensor) -> Tensor:
        gate, up = module.gate_proj(states), module.up_proj(states)
        product = _SwiGLU.apply(gate, up)  # type: ignore[no-untyped-call]
        product.recomputation = Recomputation(_gated, (gate.detach(), up.detach()))
        output: Tensor = module.down_proj(product)
        return output

    return forward


def _normalised(states: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    # In the order of transformers' own norm, so that the result is the same to the last bit.
    return weight * (states.float() * scale).to(states.dtype)


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(gate).mul_(up)


class _RMSNorm(torch.autograd.Function):
    """weight · x / sqrt(mean x² + epsilon) (arXiv 1910.07467), which keeps x and the root, not the result."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        scale = torch.rsqrt(states.float().pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(states, weight, scale)
        ctx.mark_non_differentiable(scale)
        return _normalised(states, scale, weight), scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        states, weight, scale = ctx.saved_tensors
        unit = states.float() * scale
        of_states = of_weight = None
        if ctx.needs_input_grad[0]:
            towards = gradient.float() * weight.float()
            along = (towards * unit).mean(-1, keepdim=True)
            of_states = towards.sub_(unit * along).mul_(scale).to(states.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = (gradient.float() * unit).flatten(0, -2).sum(0).to(weight.dtype)
        return of_states, of_weight, None


class _SwiGLU(torch.autograd.Function):
    """silu(gate) · up (arXiv 2002.05202), which keeps its two inputs only."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return _gated(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        of_up = functional.silu(gate).mul_(gradient)
        return torch.ops.aten.silu_backward(gradient * up, gate), of_up
