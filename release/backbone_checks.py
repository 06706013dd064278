"""Are the weights those of the model that `config.json` describes? Asked of transformers, without loading it.

transformers draws a tensor that is missing at random and drops one that it does not know, with a line in its
log. A layer more or less in `config.json` is such a case, and so are weights of another architecture.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codequarry.release.module_list import DENSE_WEIGHTS, dense_layers

Shape = tuple[int, ...]
_PIECE = 1 << 24  # numbers looked at together


def check_backbone(folder: Path) -> list[str]:
    """One sentence for each way in which the tensors are not those of the configured model, and for NaN.

    The Dense layers after the pooling are looked at too, each against its own configuration.

    Raises what transformers raises on a configuration that it cannot read.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    with torch.device("meta"):  # shapes only: no memory, no time
        model = AutoModel.from_config(config)
    if [type(model).__name__] != config.architectures:
        return [
            f"config.json has architectures {config.architectures}, and its model_type "
            f"{config.model_type!r} is a {type(model).__name__}."
        ]
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    problems = _check_tensors(sorted(folder.glob("*.safetensors")), wanted)
    for layer in dense_layers(folder):
        found = _check_tensors([folder / layer.path / DENSE_WEIGHTS], layer.shapes)
        problems += [f"{layer.path}: {problem}" for problem in found]
    return problems


def _check_tensors(files: Sequence[Path], wanted: Mapping[str, Shape]) -> list[str]:
    held: dict[str, Shape] = {}
    broken = []
    for name, tensor in _tensors(files):
        held[name] = tuple(tensor.shape)
        if tensor.is_floating_point() and not all(
            bool(piece.isfinite().all()) for piece in tensor.flatten().split(_PIECE)
        ):
            broken.append(name)
    problems = _differences(wanted, held)
    if broken:
        problems.append(f"The weights hold NaN or infinity, in {_some(broken)}.")
    return problems


def _tensors(files: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    for path in files:
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                yield name, weights.get_tensor(name)


def _differences(wanted: Mapping[str, Shape], held: Mapping[str, Shape]) -> list[str]:
    problems = []
    if lacking := sorted(wanted.keys() - held.keys()):
        problems.append(
            f"The weights lack {_some(lacking)}, of the {len(wanted)} tensors that config.json asks for: a "
            "library would draw them at random."
        )
    if unknown := sorted(held.keys() - wanted.keys()):
        problems.append(
            f"The weights hold {_some(unknown)}, for which config.json has no place: a library would drop "
            "them."
        )
    problems += [
        f"The weights hold {name} of shape {list(held[name])}, config.json asks for {list(wanted[name])}."
        for name in sorted(wanted.keys() & held.keys())
        if wanted[name] != held[name]
    ]
    return problems


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
