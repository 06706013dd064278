"""Train a LoRA adapter on a frozen backbone, keep it, resume it, and merge it into plain weights.

LoRA (arXiv 2106.09685) adds alpha / rank · B · A to the weight of a linear layer and trains A and B only, so
the optimiser keeps moments of about a hundredth of the weights. The backbone may then be in bf16, at half the
memory; A and B stay in float32, where small steps are not rounded away.
"""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from codequarry.common.errors import UserError
from codequarry.common.files import read_json, share_weights, write_json
from codequarry.modules.adapter_folder import file_of, read_base
from codequarry.modules.backbone import ADAPTERS
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.saved_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from codequarry.recipes.schema import ALL_LINEAR
from codequarry.training.record import start_record

# BERT's pooler is loaded and never used: what is trained there gets no gradient, and DDP waits for one.
_UNUSED = ("pooler",)


def add_adapter(
    model: CodeEmbedder,
    *,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    targets: Sequence[str] = (ALL_LINEAR,),
) -> None:
    """Freeze the backbone and put a LoRA adapter of float32 weights on it.

    `enable_input_require_grads` is not needed by cached losses: the adapter's weights carry the gradient
    through both passes. A pooling with weights trains as well, in float32.

    Arguments:
        rank, alpha, dropout: as in a recipe's `[lora]` table.
        targets: names of linear layers (`q_proj`) or the ends of their paths (`mlp.up_proj`);
            `("all-linear",)` for all.

    Raises UserError when peft is missing, the model has an adapter, or no layer has a target's name.

    >>> add_adapter(model, rank=16, alpha=32.0, targets=("q_proj", "v_proj"))
    """
    if find_spec("peft") is None:
        raise UserError("LoRA needs peft: pip install 'codequarry[train]'")
    if has_adapter(model):
        raise UserError("this model has an adapter already: merge it first, or build the model anew.")
    from peft import LoraConfig, inject_adapter_in_model

    backbone: Any = model.transformers_model
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft says int and divides
        lora_dropout=dropout,
        target_modules=_layers(backbone, targets),
    )
    # transformers' add_adapter does this too, and refuses every peft older than the newest it knows: 5.24.0
    # asks for peft 0.22, which was not published when 5.24.0 was.
    inject_adapter_in_model(config, backbone)
    # As add_adapter sets it (read in 5.23.0 and 5.24.0), for gradient checkpointing.
    backbone._hf_peft_config_loaded = True
    # sentence-transformers saves a model through this method. transformers' own writes the adapter alone too,
    # after the same check of peft's version.
    backbone.save_pretrained = partial(_write, backbone)
    for name, module in model.named_children():
        if name != "0":
            module.float()
    for weights in model.parameters():
        if weights.requires_grad:
            weights.data = weights.data.float()


def has_adapter(model: nn.Module) -> bool:
    """Whether `model` is a `CodeEmbedder` with an adapter on its backbone."""
    return bool(getattr(getattr(model, "transformers_model", None), "peft_config", None))


def save_adapter(model: CodeEmbedder, folder: Path, *, base: str, revision: str | None = None) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json` to `folder`, as peft reads them.

    Arguments: `base` and `revision` name the backbone, for `PeftModel.from_pretrained(base, folder)`.
    """
    _write(model.transformers_model, folder, base=base, revision=revision)


def read_adapter(model: CodeEmbedder, folder: Path) -> None:
    """Put the trained weights of a checkpoint into a model that has the same adapter, bit by bit.

    sentence-transformers would load the backbone a second time, in its number format on disk, and an adapter
    on a backbone stored in bf16 would be rounded to bf16.

    Raises UserError when the checkpoint holds the adapter of another model or another `[lora]` table.
    """
    _copy_weights(model, folder)
    rows = read_json(folder / "modules.json")
    others: list[Any] = list(model.children())[1:]
    for module, row in zip(others, rows[1:], strict=True):
        if next(module.parameters(), None) is not None:  # a pooling with weights of its own
            module.load_torch_weights(str(folder), subfolder=row["path"], model=module)


def start_from(model: CodeEmbedder, name: str) -> None:
    """Begin with the weights of another run's adapter instead of random ones.

    Arguments: `name` as in a recipe's `lora.start`.

    Raises UserError when it is not an adapter, was trained on another backbone file, has another shape, or
    has no record of its training.
    """
    folder = ADAPTERS.get(name, Path(name))
    base = read_base(folder)
    if base.sha256 != (here := file_of(model)):
        raise UserError(
            f"lora.start: the adapter in {folder} was trained on the file with sha256 {base.sha256}, and the "
            f"backbone's has {here}. Pass the backbone of that adapter, or leave lora.start out."
        )
    start_record(name)  # now, and not after hours of training
    _copy_weights(model, folder)


def _copy_weights(model: CodeEmbedder, folder: Path) -> None:
    from safetensors.torch import load_file

    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise UserError(f"{folder} holds no adapter: {ADAPTER_WEIGHTS} is missing.")
    saved = load_file(folder / ADAPTER_WEIGHTS)
    own = _weights(model.transformers_model)
    for name in sorted({*saved, *own}):
        there, here = (tuple(found[name].shape) if name in found else None for found in (saved, own))
        if there != here:
            raise UserError(
                f"{folder} holds another adapter: {name} is {there or 'missing'} there and "
                f"{here or 'missing'} in this model. Give the recipe whose [lora] table wrote it."
            )
    with torch.no_grad():
        for name, weights in own.items():
            weights.copy_(saved[name])


def merge_adapter(model: CodeEmbedder) -> CodeEmbedder:
    """Add the adapter of `model` into plain weights, in place and in float32; returns `model`.

    A sum in bf16 would round most of the adapter away. Raises UserError when there is no adapter.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not has_adapter(model):
        raise UserError("this model has no adapter to merge.")
    backbone: Any = model.transformers_model
    model.float()
    for name, layer in list(backbone.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            backbone.set_submodule(name, layer.get_base_layer())
    del backbone.peft_config
    backbone._hf_peft_config_loaded = False
    vars(backbone).pop("save_pretrained", None)  # absent where sentence-transformers read the adapter
    for weights in model.parameters():
        weights.requires_grad_(True)
    return model


def _weights(backbone: Any) -> dict[str, torch.Tensor]:
    """The adapter's weights under the names that peft gives them in a file."""
    from peft import get_peft_model_state_dict

    # By default it would ask the Hub whether the vocabulary has grown.
    own = get_peft_model_state_dict(backbone, save_embedding_layers=False)
    return {f"base_model.model.{name}": weights for name, weights in own.items()}


def _write(
    backbone: Any, folder: str | Path, *, base: str | None = None, revision: str | None = None, **_: Any
) -> None:
    """Write the adapter of `backbone`; `base` None: the folder or name that the backbone was read from.

    Further arguments are those that sentence-transformers passes to `save_pretrained` (`safe_serialization`).
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in _weights(backbone).items()}
    save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    share_weights(folder)
    config = backbone.peft_config["default"].to_dict() | {"revision": revision, "inference_mode": True}
    config["base_model_name_or_path"] = base or backbone.name_or_path
    # peft keeps the targets as a set, whose order changes from one process to the next.
    config["target_modules"] = sorted(config["target_modules"])
    write_json(folder / ADAPTER_CONFIG, config)


def _layers(backbone: Any, targets: Sequence[str]) -> list[str]:
    """The full names of the linear layers that the targets name, sorted."""
    linear = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) and not set(name.split(".")) & set(_UNUSED)
    ]
    if tuple(targets) == (ALL_LINEAR,):
        return sorted(linear)
    chosen: set[str] = set()
    for target in targets:
        found = {name for name in linear if name == target or name.endswith(f".{target}")}
        if not found:
            known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear))
            raise UserError(
                f"lora: no linear layer of this backbone is called {target!r}: it has {known}. "
                f'Name some of these, or write targets = ["{ALL_LINEAR}"].'
            )
        chosen |= found
    return sorted(chosen)
