"""A model for search by name or folder, without torch where that is possible."""

from pathlib import Path

from codequarry.common.errors import UserError, torch_as_extra
from codequarry.inference.encoder import TaskModel
from codequarry.inference.numpy_bert import numpy_bert
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.modules.backbone import MINI, PICO, SHIPPED, resolve_backbone
from codequarry.modules.static_files import is_static


def load_static(name: str = PICO, *, dims: int | None = None) -> StaticEncoder | None:
    """The static model called `name`, `pico` or a folder; None where it is another kind of model.

    Raises UserError for a static model that is damaged, and a dimension that it was not trained for.

    >>> load_static("mini") is None
    True
    """
    folder = _folder(name)
    return StaticEncoder(folder, dims=dims) if is_static(folder) else None


def _folder(name: str) -> Path:
    return resolve_backbone(name) if name in SHIPPED else Path(name)


def load_light(name: str = MINI, *, dims: int | None = None) -> TaskModel:
    """The model that `codequarry.load` gives, or one with the same vectors that needs no torch.

    A BERT with mean pooling, such as `mini` and what was trained on it, runs in numpy (`numpy_bert`).

    Raises UserError where `load` does; MissingPackageError for a model that needs torch where it is missing.
    """
    folder = _folder(name)
    if folder.is_dir() and (model := numpy_bert(folder)) is not None:
        if dims is not None and dims not in model.matryoshka_dims:
            raise UserError(
                f"embedding dim {dims} is not among the trained dims {model.matryoshka_dims}: pass one of "
                "these."
            )
        model.truncate_dim = dims
        return model
    with torch_as_extra(f"the model {name}"):
        from transformers.utils.logging import disable_progress_bar

        from codequarry.inference.load import load
    disable_progress_bar()  # one for each file that is read; search has its own
    return load(name, dims=dims)
