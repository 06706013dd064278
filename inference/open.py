"""A model of a command by name or folder, opened by the cheapest reader that gives the vectors of `load`."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.common.errors import UserError, torch_as_extra
from codequarry.inference.encoder import TaskModel
from codequarry.inference.numpy_bert import numpy_bert
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.modules.backbone import ADAPTERS, PICO, SHIPPED, resolve_backbone
from codequarry.modules.backbone import MINI as MINI
from codequarry.modules.identity import check_dim
from codequarry.modules.static_files import is_static

if TYPE_CHECKING:
    from codequarry.inference.load import RuntimeName
    from codequarry.inference.runtime.folder import FolderModel
    from codequarry.modules.embedder import CodeEmbedder


def open_static(name: str = PICO, *, dims: int | None = None) -> StaticEncoder | None:
    """The static model called `name`, `pico` or a folder, without torch; None for another kind of model.

    Raises UserError for a static model that is damaged, and a dimension that it was not trained for.

    >>> open_static("mini") is None
    True
    """
    folder = _folder(name)
    return StaticEncoder(folder, dims=dims) if is_static(folder) else None


def open_light(name: str = MINI, *, dims: int | None = None, many: bool = False) -> TaskModel:
    """The same vectors and fingerprint as those of `load(name, dims=dims)`, for some dozens of texts.

    A BERT with mean pooling, such as `mini` and what was trained on it, runs in numpy, which takes less time
    than to import torch; every other model is opened by `open_model`.

    Arguments: `many`, that thousands of texts are to be embedded: then an accelerator is used where torch
    finds one.

    Raises UserError where `load` does; MissingPackageError for a model that needs torch where it is missing.
    """
    folder = _folder(name)
    in_numpy = folder.is_dir() and not (many and _has_accelerator())
    if in_numpy and (model := numpy_bert(folder)) is not None:
        if dims is not None:
            check_dim(dims, model.matryoshka_dims)
        model.truncate_dim = dims
        return model
    with torch_as_extra(f"the model {name}"):
        return open_model(name, dims=dims, bars=False)


def open_model(
    name: str = MINI, *, dims: int | None = None, runtime: "RuntimeName" = "packed", bars: bool = True
) -> "FolderModel | CodeEmbedder":
    """The same vectors and fingerprint as those of `load(name, dims=dims)`, sooner where that is possible.

    It is for the models that `inference/runtime/folder.py` reads, on a machine without an accelerator: then
    neither sentence-transformers nor transformers is imported. Every other one is loaded, and a damaged one
    is refused, by `load`.

    Arguments and errors are those of `load`; `bars`, whether transformers shows those of the files it reads.

    >>> open_model("mini").fingerprint == codequarry.load("mini").fingerprint
    True
    """
    found = _from_folder(name, int8=runtime == "int8") if runtime in ("packed", "int8") else None
    if found is None:
        from codequarry.inference.load import load

        if not bars:
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()
        return load(name, dims=dims, runtime=runtime)
    if dims is not None:
        found.check_dims(dims)
        found.truncate_dim = dims
    return found


def _has_accelerator() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.accelerator.is_available()


def _folder(name: str) -> Path:
    return resolve_backbone(name) if name in SHIPPED else Path(name)


def _from_folder(name: str, *, int8: bool) -> "FolderModel | None":
    import torch

    if torch.accelerator.is_available():
        return None
    from codequarry.inference.merged_adapter import kept_fingerprint, merged_folder
    from codequarry.inference.runtime.engine import Unsupported
    from codequarry.inference.runtime.folder import FolderModel

    try:
        if name in ADAPTERS:  # whose vectors were checked when it was merged
            model = FolderModel(merged_folder(name, ADAPTERS[name]), check=False, int8=int8)
            model.fingerprint = kept_fingerprint(model)
            return model
        folder = _folder(name)
        if (folder / "modules.json").is_file() and not is_static(folder):
            return FolderModel(folder, int8=int8)
        return None
    except (Unsupported, UserError):
        return None  # `load` has the whole sentence
