"""Are the tensors of safetensors files those of a model? By names, shapes and finiteness."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from codequarry.common.errors import some

Shape = tuple[int, ...]
_PIECE = 1 << 24  # numbers checked together


def stored_shapes(files: Sequence[Path]) -> dict[str, tuple[Shape, str]]:
    """(shape, safetensors' name of the type) of every tensor by name, from the headers alone.

    Raises what safetensors raises on a file that it cannot read.
    """
    from safetensors import safe_open

    found: dict[str, tuple[Shape, str]] = {}
    for path in files:
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                part = weights.get_slice(name)
                found[name] = (tuple(part.get_shape()), str(part.get_dtype()))
    return found


def wrong_tensors(held: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> Iterator[str]:
    """One sentence for tensors that are lacking, unknown, or of another shape than `wanted`."""
    if lacking := sorted(wanted.keys() - held.keys()):
        yield (
            f"The weights lack {some(lacking, 3)}, of the {len(wanted)} tensors that config.json asks for: a "
            "library would draw them at random."
        )
    if unknown := sorted(held.keys() - wanted.keys()):
        yield (
            f"The weights hold {some(unknown, 3)}, for which config.json has no place: a library would drop "
            "them."
        )
    for name in sorted(wanted.keys() & held.keys()):
        if wanted[name] != held[name]:
            yield (
                f"The weights hold {name} of shape {list(held[name])}, config.json asks for "
                f"{list(wanted[name])}."
            )


def broken_tensors(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of those that hold NaN or infinity."""
    return [name for name, tensor in tensors.items() if not _is_finite(tensor)]


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # The smallest and the largest number are NaN where one is: one pass, and no table of booleans in memory.
    for piece in tensor.detach().flatten().split(_PIECE):  # type: ignore[no-untyped-call]
        if not all(bool(end.isfinite()) for end in torch.aminmax(piece)):
            return False
    return True


def own_shapes(module: nn.Module, held: Mapping[str, Any]) -> dict[str, Shape]:
    """The shape of every tensor that the files of `module` have to hold; of tied tensors one is enough.

    held: what the files hold, by name.
    """
    state = module.state_dict(keep_vars=True)
    there = {state[name].data_ptr() for name in held if name in state}
    return {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if name in held or not tensor.numel() or tensor.data_ptr() not in there
    }
