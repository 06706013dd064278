"""codequarry: code embeddings you can train on your own repository, release with proof, and search with.

import codequarry
model = codequarry.load("mini")
model.encode_query(["parse a date"], task="nl2code")
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from codequarry.modules.tasks import TASKS

if TYPE_CHECKING:
    from codequarry.inference.load import load

__version__ = version("codequarry")
__all__ = ["TASKS", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # `load` brings torch and transformers, seconds of import that `codequarry --help` must not pay.
    if name == "load":
        from codequarry.common.errors import torch_as_extra

        with torch_as_extra("codequarry.load"):
            from codequarry.inference.load import load

        return load
    raise AttributeError(f"module 'codequarry' has no attribute {name!r}")
