"""A folder with a LoRA adapter and the record of its backbone: written by training, merged when loaded.

An adapter is a model only together with the very weights it was trained on. Weights of one name differ: a
quantised file may have per-channel scales (AWQ) that cancel out in the function and not in single weights, so
an adapter trained on it ruins the original in bf16. `base.json` therefore has the file's sha256, and loading
compares it.
"""

import re
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from codequarry.common.errors import UserError, some
from codequarry.common.files import read_json, write_json
from codequarry.modules.backbone import resolve_backbone
from codequarry.modules.build import PoolingName, build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.gguf_backbone import source_sha256
from codequarry.modules.saved_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE
from codequarry.modules.tasks import DEFAULT_FAMILY, get_family

_LAYER = re.compile(r"base_model\.model\.([\w.]+)\.lora_([AB])\.weight")
_LARGEST = 1 << 20  # bytes of a JSON file here


@dataclass(frozen=True)
class AdapterBase:
    """What an adapter is put on, and how the model around it is built.

    backbone, revision: as `resolve_backbone` takes them.
    sha256: of the GGUF file that the backbone was dequantised from; None for a backbone of another kind.
    pooling, max_length, dims, prompts, layers: as `build_model` takes them; older adapters have no prompts:
        `code`, and no layers: None.
    """

    backbone: str
    revision: str | None
    sha256: str | None
    pooling: PoolingName
    max_length: int
    dims: tuple[int, ...]
    prompts: str = DEFAULT_FAMILY
    layers: int | None = None


def file_of(model: CodeEmbedder) -> str | None:
    """The sha256 of the GGUF file that the backbone of `model` was made of; None for another kind."""
    read_from = str(getattr(model.transformers_model, "name_or_path", ""))
    return source_sha256(Path(read_from)) if read_from else None


def write_base(folder: Path, base: AdapterBase) -> None:
    """Write `base.json` into an adapter's folder."""
    write_json(folder / BASE, asdict(base))


def read_base(folder: Path) -> AdapterBase:
    """What `write_base` wrote. Raises UserError, naming the file and the field, for anything else."""
    fields = {"prompts": DEFAULT_FAMILY, "layers": None} | _json(folder / BASE)
    kinds: dict[str, Any] = {
        "backbone": str, "revision": (str, type(None)), "sha256": (str, type(None)), "pooling": str,
        "max_length": int, "dims": list, "prompts": str, "layers": (int, type(None)),
    }  # fmt: skip
    for name, kind in kinds.items():
        if name not in fields or not isinstance(fields[name], kind):
            raise UserError(f"{folder / BASE}: {name!r} is missing or of another type than training writes.")
    if set(fields) != set(kinds):
        raise UserError(f"{folder / BASE} has fields of a newer version: update codequarry.")
    numbers = {name: fields[name] for name in ("dims", "max_length", "layers") if fields[name] is not None}
    for name, value in numbers.items():
        if not all(type(one) is int and one > 0 for one in (value if name == "dims" else [value])):
            raise UserError(f"{folder / BASE}: {name} is {value!r}, not whole numbers above 0.")
    if fields["pooling"] not in get_args(PoolingName):
        raise UserError(f"{folder / BASE}: pooling is {fields['pooling']!r}, not one of codequarry's.")
    try:
        get_family(fields["prompts"])
    except UserError as error:
        raise UserError(f"{folder / BASE}: {error}") from error
    return AdapterBase(**fields | {"dims": tuple(fields["dims"])})


def load_adapter_folder(folder: Path, *, device: str | None = None) -> CodeEmbedder:
    """The model of an adapter: its backbone, found or fetched, with the adapter added to it in float32.

        W ← W + alpha / rank · B A       (arXiv 2106.09685)

    peft is not needed. Raises UserError when the backbone cannot be had, is not the one that the adapter was
    trained on, or does not have the adapter's layers.
    """
    base = read_base(folder)
    found = resolve_backbone(base.backbone, revision=base.revision)
    sha256 = source_sha256(found)
    if sha256 != base.sha256:
        raise UserError(
            f"the adapter in {folder} was trained on {_named(base.sha256)}, and {base.backbone} is "
            f"{_named(sha256)} here. Its vectors on other weights are wrong: pass the ones it was trained on."
        )
    model = build_model(
        str(found),
        pooling=base.pooling,
        max_length=base.max_length,
        dims=base.dims,
        prompts=base.prompts,
        layers=base.layers,
        device=device,
    )
    _merge(model, folder)
    return model.eval()


def _named(sha256: str | None) -> str:
    return "weights that are no GGUF file" if sha256 is None else f"the GGUF file of sha256 {sha256[:12]}…"


def _merge(model: CodeEmbedder, folder: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = _json(folder / ADAPTER_CONFIG)
    for name, plain in _PLAIN.items():
        if (config.get(name) or plain) != plain:
            raise UserError(
                f"{folder / ADAPTER_CONFIG} has {name} {config[name]!r}, by which peft adds the adapter in "
                "another way than W + alpha / rank · B A: codequarry adds that one alone."
            )
    try:
        scaling = float(config["lora_alpha"]) / int(config["r"])
        weights = load_file(folder / ADAPTER_WEIGHTS)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OSError, SafetensorError) as error:
        raise UserError(f"{folder} holds no whole adapter ({type(error).__name__}: {error}).") from error
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        layer = _LAYER.fullmatch(name)
        if layer is None:
            raise UserError(
                f"{folder / ADAPTER_WEIGHTS}: {name} is no weight of a LoRA adapter on linear layers."
            )
        halves.setdefault(layer[1], {})[layer[2]] = tensor
    if not (isfinite(scaling) and halves):
        raise UserError(f"{folder} holds no whole adapter: no layer, or a scale of {scaling}.")
    backbone: Any = model.transformers_model
    layers = dict(backbone.named_modules())
    targets = config.get("target_modules")
    if isinstance(targets, list):
        without = [
            name for name in layers if name not in halves and any(_is_target(name, one) for one in targets)
        ]
        if without:
            raise UserError(f"{folder / ADAPTER_WEIGHTS} lacks the adapter of {some(without, 3)}.")
    for name, half in halves.items():
        weight: Any = getattr(layers.get(name), "weight", None)
        fits = (
            isinstance(weight, Tensor)
            and set(half) == {"A", "B"}
            and (half["B"].shape[0], half["A"].shape[1]) == tuple(weight.shape)
            and half["A"].shape[0] == half["B"].shape[1]
        )
        if not fits:
            raise UserError(f"{folder}: the adapter of {name} does not fit its layer in the backbone.")
        with torch.no_grad():
            added = half["B"].float() @ half["A"].float() * scaling
            if not torch.isfinite(added).all():
                raise UserError(f"{folder}: the adapter of {name} holds numbers that are not finite.")
            weight.add_(added.to(weight.device))


# Settings of peft's that change what an adapter adds, and their plain values.
_PLAIN: dict[str, Any] = {
    "peft_type": "LORA", "use_rslora": False, "use_dora": False, "fan_in_fan_out": False, "bias": "none",
    "lora_bias": False, "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None,
    "layer_replication": None, "trainable_token_indices": None, "target_parameters": None,
}  # fmt: skip


def _is_target(layer: str, target: Any) -> bool:
    """As peft reads a list of `target_modules`: a layer's name, or the end of it."""
    return layer == target or layer.endswith(f".{target}")


def _json(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file, _LARGEST)
        if not isinstance(content, dict):
            raise UserError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read: {error}.") from error
    return content
