"""The model of a command: on the engine alone where that reads it, else as `codequarry.load` does."""

from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.common.errors import UserError
from codequarry.inference.merged_adapter import merged_folder
from codequarry.inference.runtime.engine import Unsupported
from codequarry.modules.backbone import ADAPTERS, MINI, resolve_backbone

if TYPE_CHECKING:
    from codequarry.inference.runtime.folder import FolderModel
    from codequarry.modules.embedder import CodeEmbedder


def open_model(
    name: str = MINI, *, dims: int | None = None, bars: bool = True
) -> "FolderModel | CodeEmbedder":
    """The same vectors and fingerprint as those of `load(name, dims=dims)`, sooner where that is possible.

    It is for the models that `inference/runtime/folder.py` reads, on a machine without an accelerator: then
    neither sentence-transformers nor transformers is imported. Every other one is loaded, and a damaged one
    is refused, by `load`.

    Arguments and errors are those of `load`; `bars`, whether transformers shows those of the files it reads.

    >>> open_model("mini").fingerprint == codequarry.load("mini").fingerprint
    True
    """
    if (found := _from_folder(name)) is None:
        from codequarry.inference.load import load

        if not bars:
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()
        return load(name, dims=dims)
    if dims is not None:
        found.check_dims(dims)
        found.truncate_dim = dims
    return found


def _from_folder(name: str) -> "FolderModel | None":
    import torch

    if torch.accelerator.is_available():
        return None
    from codequarry.inference.runtime.folder import FolderModel

    try:
        if name in ADAPTERS:  # whose vectors were checked when it was merged
            return FolderModel(merged_folder(name, ADAPTERS[name]), check=False)
        folder = resolve_backbone(MINI) if name == MINI else Path(name)
        return FolderModel(folder) if (folder / "modules.json").is_file() else None
    except (Unsupported, UserError):
        return None  # `load` has the whole sentence
