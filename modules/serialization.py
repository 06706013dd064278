"""How a model is saved: our classes in memory, sentence-transformers' own on disk, for any transformers.

sentence-transformers 6 refuses a folder whose `modules.json` names any other package's class unless the user
passes `trust_remote_code=True`; LangChain, LlamaIndex and inference servers cannot. So a module of ours has a
`stock_class` that computes the same vectors; the folder names that class, and a `CodeEmbedder` replaces it by
ours when it loads. `LatentAttentionPooling` has none: it is saved under its own name, and not released.

transformers 5 writes `rope_parameters` and `dtype` into `config.json`. transformers 4 reads `rope_theta` and
`torch_dtype`; without them it uses theta 10,000 and float32 without a warning, so the same weights give other
vectors. A saved config has both spellings; each reader ignores the other's.
"""

import copy
import json
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from codequarry.common.files import write_json

Module = TypeVar("Module", bound=nn.Module)


def refuse_other_containers(module: nn.Module, model: Any) -> None:
    """Raise ValueError when `model` would save `module` under its own class name.

    A module of ours has this as its `on_model_ready`, which sentence-transformers calls once its model is
    complete.
    """
    if not getattr(model, "saves_stock_classes", False):
        raise ValueError(
            f"{type(module).__name__} was put into a {type(model).__name__}, which would save the class name "
            "'codequarry…', so that the folder loads only with trust_remote_code. "
            "Use codequarry.modules.embedder.CodeEmbedder(modules=[...]) instead."
        )


def stock_view(module: Module) -> Module:
    """The same module for saving, in which every module of ours is of its stock class.

    Ours, and what contains them, are shallow copies that share all weights and settings; everything else is
    the same object. `module` itself is not changed, so other threads may encode with it or save it meanwhile.
    """
    if not any(hasattr(inner, "stock_class") for inner in module.modules()):
        return module
    view = copy.copy(module)
    view._modules = {
        name: inner if inner is None else stock_view(inner) for name, inner in module._modules.items()
    }
    view.__class__ = getattr(module, "stock_class", type(module))
    return view


def add_legacy_fields(config_path: Path) -> None:
    """Add the transformers 4 spelling of every field that transformers 5 renamed; twice is harmless."""
    config: dict[str, Any] = json.loads(config_path.read_text(encoding="utf-8"))
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        config["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    if "dtype" in config:
        config["torch_dtype"] = config["dtype"]
    write_json(config_path, dict(sorted(config.items())))
