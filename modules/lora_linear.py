"""A linear layer with a LoRA adapter as one autograd function, which keeps what its backward pass reads.

peft computes `W x + b` and `s · B A x` as five operations, each of which passes over its result and may keep
its input. Where W is frozen, only A's gradient reads x, and B's reads the `rank` numbers of A x.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from codequarry.modules.recomputation import Recomputation, recomputation_of


def fuse_adapters(model: nn.Module) -> int:
    """Compute the LoRA layers of `model` by `LoRALinear` wherever that is the same; returns how many.

    A layer stays as it is where its adapter has dropout, is of another kind (DoRA), or is on a weight that
    trains. Without gradients, and once it is merged or disabled, peft's own forward pass runs.
    """
    from peft.tuners.lora.layer import Linear

    fused = 0
    for layer in model.modules():
        if isinstance(layer, Linear) and _is_plain(layer):
            layer.forward = _Forward(layer)  # type: ignore[assignment, method-assign]
            fused += 1
    return fused


def _is_plain(layer: Any) -> bool:
    if len(layer.active_adapters) != 1:
        return False
    (name,) = layer.active_adapters
    base = layer.get_base_layer()
    return (
        name in layer.lora_A
        and name not in layer.lora_variant
        and isinstance(layer.lora_dropout[name], nn.Identity)
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
        and type(base) is nn.Linear
        and not any(weight.requires_grad for weight in base.parameters())
    )


class _Forward:
    """The forward pass of one layer; a class, so that a copied layer copies it too."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        layer = self.layer
        if not torch.is_grad_enabled() or layer.disable_adapters or layer.merged or args or kwargs:
            output: Tensor = type(layer).forward(layer, states, *args, **kwargs)
            return output
        (name,) = layer.active_adapters
        base = layer.get_base_layer()
        output = LoRALinear.apply(  # type: ignore[no-untyped-call]
            states,
            base.weight,
            base.bias,
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            layer.scaling[name],
            recomputation_of(states),
        )
        return output


class LoRALinear(torch.autograd.Function):
    """W x + b + scaling · B (A x) for a frozen W (arXiv 2106.09685).

    The input is kept for A's gradient alone: where it has a `recomputation`, the inputs of that are kept
    instead. Under autocast everything is computed in autocast's type; a W of this type is not copied.

    Shapes: `states (..., in)`, `weight (out, in)`, `bias (out,)` or None, `down (rank, in)` and
    `up (out, rank)`, to `(..., out)`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scaling: float,
        again: Recomputation | None,
    ) -> Tensor:
        device = states.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
        with torch.autocast(device, enabled=False):
            rows = states.reshape(-1, states.shape[-1]).to(dtype)
            inner = rows @ down.to(dtype).T
            output = functional.linear(rows, weight.to(dtype), None if bias is None else bias.to(dtype))
            output.addmm_(inner, up.to(dtype).T, alpha=scaling)
        ctx.compute, ctx.scaling, ctx.dtype = again and again.compute, scaling, dtype
        ctx.save_for_backward(weight, down, up, inner, *(again.inputs if again else (states,)))
        return output.view(*states.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, down, up, inner, *kept = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            rows = gradient.reshape(-1, gradient.shape[-1]).to(ctx.dtype)
            towards = rows @ up.to(ctx.dtype)
            of_states = of_down = of_up = None
            if ctx.needs_input_grad[0]:
                of_states = rows @ weight.to(ctx.dtype)
                of_states.addmm_(towards, down.to(ctx.dtype), alpha=ctx.scaling)
                of_states = of_states.view(*gradient.shape[:-1], -1)
            if ctx.needs_input_grad[3]:
                states = ctx.compute(*kept) if ctx.compute else kept[0]
                states = states.reshape(-1, states.shape[-1]).to(ctx.dtype)
                of_down = (towards.T @ states).to(down.dtype).mul_(ctx.scaling)
            if ctx.needs_input_grad[4]:
                of_up = (rows.T @ inner).to(up.dtype).mul_(ctx.scaling)
        return of_states, None, None, of_down, of_up, None, None
