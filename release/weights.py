"""A release's weights: written shard by shard, and checked by their headers; no weight is read.

Weights larger than a shard become several files with an index that names the file of each tensor, the form
that transformers and the servers read. Only one shard is in memory at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from codequarry.common.errors import UserError
from codequarry.common.files import read_json, share_weights, write_json

Dtype = Literal["fp32", "bf16", "fp16"]  # the last for static models alone
TORCH_NAMES: dict[Dtype, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
LARGEST_SHARD = 5_000_000_000  # bytes; what the Hub's own tools split at
_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PATTERN = "model{suffix}.safetensors"
# By safetensors' names: the bytes that a number takes, of the types that are converted and of the others.
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_OTHERS = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_SIZES = _FLOATS | _OTHERS
_NAMES = {"F32": "float32", "BF16": "bfloat16"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the header of its file has it. kind: safetensors' name of its type, such as `BF16`."""

    kind: str
    numbers: int

    @property
    def is_floating(self) -> bool:
        """Whether a release may hold it in another type."""
        return self.kind in _FLOATS

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.numbers * _SIZES[self.kind]


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of a safetensors file by name; no weight is read.

    Raises UserError for a file that cannot be read as one, and for a type that no release holds.

    >>> sum(tensor.numbers for tensor in stored_tensors(Path("runs/mini/model.safetensors")).values())
    22713216
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as weights:
            parts = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118
            found = {
                name: StoredTensor(part.get_dtype(), prod(part.get_shape())) for name, part in parts.items()
            }
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path.name} cannot be read: {error}.") from error
    if unknown := sorted({tensor.kind for tensor in found.values()} - _SIZES.keys()):
        raise UserError(f"{path.name} holds {', '.join(unknown)}, types that no release is written from.")
    return found


def write_weights(
    sources: Sequence[Path], folder: Path, dtype: Dtype, largest_shard: int = LARGEST_SHARD
) -> list[Path]:
    """Write the tensors of the safetensors files `sources` to `folder`, as `dtype` where they are floating.

    largest_shard: bytes of a file, at most; a tensor that is larger has a file of its own.

    Returns the files with weights, in order.
    """
    import torch
    from huggingface_hub import split_state_dict_into_shards_factory
    from safetensors import safe_open
    from safetensors.torch import save_file

    target: torch.dtype = getattr(torch, TORCH_NAMES[dtype])
    where, sizes = {}, {}
    for source in sources:
        for name, tensor in stored_tensors(source).items():
            where[name] = source
            sizes[name] = tensor.numbers * target.itemsize if tensor.is_floating else tensor.size
    split = split_state_dict_into_shards_factory(
        sizes, get_storage_size=lambda size: size, filename_pattern=_PATTERN, max_shard_size=largest_shard
    )
    for file, names in split.filename_to_tensors.items():
        tensors = {}
        for source in dict.fromkeys(where[name] for name in names):
            with safe_open(source, framework="pt") as weights:
                for name in names:
                    if where[name] == source:
                        tensor = weights.get_tensor(name)
                        tensors[name] = tensor.to(target) if tensor.is_floating_point() else tensor.clone()
        save_file(tensors, folder / file, metadata={"format": "pt"})
    if len(split.filename_to_tensors) > 1:
        write_json(folder / _INDEX, {"metadata": split.metadata, "weight_map": split.tensor_to_filename})
    share_weights(folder)
    return [folder / file for file in split.filename_to_tensors]


def check_weight_files(folder: Path, config: dict[str, Any]) -> list[str]:
    """One sentence for each file of weights that is missing, left over, unreadable or of another type.

    config: what `config.json` holds; its `dtype` is the one a reader loads the weights as.
    """
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    try:
        # By the index; without one, the one file there may be, under no tensor's name.
        named = {"": _WHOLE} if _WHOLE in found else {}
        if (folder / _INDEX).exists():
            named = dict(read_json(folder / _INDEX)["weight_map"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{_INDEX} cannot be read ({type(error).__name__})."]
    if found and not named:
        return [f"{_INDEX} is missing, without which {', '.join(found)} are no weights."]
    problems = [
        f"{file} is named in {_INDEX} and not there." for file in sorted(set(named.values()) - {*found})
    ]
    problems += [f"{file} is not named in {_INDEX}." for file in sorted({*found} - set(named.values()))]
    if problems or not found:
        return problems or [f"{_WHOLE} is missing."]
    kinds: set[str] = set()
    for file in found:
        try:
            tensors = stored_tensors(folder / file)
        except UserError as error:
            problems.append(str(error))
            continue
        held = tensors.keys()
        kinds |= {tensor.kind for tensor in tensors.values()}
        listed = {name for name, place in named.items() if place == file}
        if found != [_WHOLE] and held != listed:
            problems.append(
                f"{file} holds {len(held)} tensors, {_INDEX} lists {len(listed)} of it, and "
                f"{sorted(held ^ listed)[0]} is in one of the two only."
            )
    types = {_NAMES.get(kind, kind) for kind in kinds if kind not in _OTHERS}
    # bfloat16 on disk may be float32 in memory, which holds it exactly; the other way numbers are lost.
    fits = types == {config.get("dtype")} or (types, config.get("dtype")) == ({"bfloat16"}, "float32")
    if not problems and not fits:
        problems.append(
            f"{', '.join(found)} holds {', '.join(sorted(types))}, config.json says {config.get('dtype')!r}."
        )
    return problems


def dtype_on_disk(folder: Path) -> Dtype:
    """The type of a release's weights as they are stored."""
    first = stored_tensors(sorted(folder.glob("*.safetensors"))[0])
    kinds = {tensor.kind for tensor in first.values()}
    return "bf16" if "BF16" in kinds else "fp16" if "F16" in kinds else "fp32"


def dtype_in_memory(folder: Path) -> Dtype:
    """The type in which a reader loads a release's weights, where it asks for nothing else."""
    named = read_json(folder / "config.json")["dtype"]
    return next((short for short, name in TORCH_NAMES.items() if name == named), "fp32")
