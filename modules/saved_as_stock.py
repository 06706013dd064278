"""Our classes in memory, sentence-transformers' own classes on disk.

sentence-transformers 6 refuses a folder whose `modules.json` names any other package's class unless the user
passes `trust_remote_code=True`; LangChain, LlamaIndex and inference servers cannot. So a module of ours names
a `stock_class` that computes the same vectors; it becomes that class while the model is saved, and ours
again when a `CodeEmbedder` loads it. `LatentAttentionPooling` has none, so it is saved as what it is, and no
release can hold it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def refuse_other_containers(module: nn.Module, model: Any) -> None:
    """Raise ValueError when `model` would save `module` under its own class name.

    A module of ours takes this as its `on_model_ready`, which sentence-transformers calls once the model
    around it is complete.
    """
    if not getattr(model, "saves_stock_classes", False):
        raise ValueError(
            f"{type(module).__name__} was put into a {type(model).__name__}, which would save the class name "
            "'codequarry…', so that the folder loads only with trust_remote_code. "
            "Use codequarry.modules.embedder.CodeEmbedder(modules=[...]) instead."
        )


@contextmanager
def as_stock(model: nn.Module) -> Iterator[None]:
    """While this lasts, every module of ours in `model` is of its stock class."""
    ours = [(module, type(module)) for module in model.modules() if hasattr(module, "stock_class")]
    for module, own_class in ours:
        module.__class__ = own_class.stock_class  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, own_class in ours:
            module.__class__ = own_class
