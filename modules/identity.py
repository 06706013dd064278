"""Which model is it, and which of its dimensions may vectors have? Imported without torch."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from codequarry.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def digest(
    tensors: Iterable[tuple[str, "Tensor"]],
    tokenizer: Any,
    split_special_tokens: bool | None,
    max_seq_length: int | None,
    modules: Sequence[tuple[str, Mapping[str, object]]],
    attention: str = "",
) -> str:
    """sha256 over what determines a model's vectors: see `codequarry.modules.embedder.fingerprint`.

    Arguments:
        tensors: all weights by their name in a `SentenceTransformer`, sorted by it.
        tokenizer: what `tokenizer_state` gives.
        split_special_tokens: the tokenizer's policy; None where it has none.
        max_seq_length: in tokens; None for no limit.
        modules: class name and settings of each module that has settings besides weights, in order; the name
            is "" for poolings of ours and sentence-transformers'.
        attention: what differs from the architecture's own; "" for nothing.
    """
    import torch

    found = hashlib.sha256()
    for name, tensor in tensors:
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    found.update(json.dumps(tokenizer).encode())
    found.update(f"{split_special_tokens} {max_seq_length}".encode())
    for name, settings in modules:
        found.update(f"{name}{' ' if name else ''}{sorted(settings.items())!r}".encode())
    found.update(attention.encode())
    return found.hexdigest()


def tokenizer_state(text: str) -> Any:
    """What a `tokenizer.json` says of the model.

    Encoding leaves its last padding and truncation in a tokenizer; neither belongs to the model.
    """
    return json.loads(text) | {"padding": None, "truncation": None}


def check_dim(dims: object, trained: Sequence[int | None]) -> None:
    """Raise UserError unless vectors may be truncated to `dims` dimensions: one of `trained`."""
    if isinstance(dims, bool | np.bool_) or not isinstance(dims, int | np.integer):
        raise UserError(
            f"embedding dim {dims!r} is of type {type(dims).__name__}: pass a whole number, such as "
            f"{trained[-1]}."
        )
    if dims not in trained:
        raise UserError(
            f"embedding dim {dims} is not among the trained dims {tuple(trained)}: pass one of these."
        )
