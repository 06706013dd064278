"""Average trained weights with those they started from.

    W = (1 - share) · W_trained + share · W_base

What a base has learned from far more data than a fine-tuning shows it is partly forgotten in training; a
mean of the two weights keeps much of both (WiSE-FT, arXiv 2109.01903).
"""

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


def float_copy(model: nn.Module) -> Weights:
    """A copy of all weights, on the processor."""
    return {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


def average(model: nn.Module, base: Weights, share: float) -> None:
    """Move the weights of `model` towards `base`, in place.

    Arguments: `base`, of `float_copy`; `share`, of the base, from 0 (nothing changes) to 1.

    Raises ValueError when the two have other weights.
    """
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    if state.keys() != base.keys():
        raise ValueError(
            f"the model and its base differ in {len(state.keys() ^ base.keys())} of their weights, such as "
            f"{min(state.keys() ^ base.keys())}: average a model with the one it was trained from."
        )
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.lerp_(base[name].to(tensor), share)
