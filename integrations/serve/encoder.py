"""A model as the server uses it: texts with their prompts in, vectors and token counts out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Served:
    """What clients may know of the model that answers them.

    name: what they call it. prompts: by name. dims: trained sizes, largest first.
    max_tokens: that it reads of a text, prompt and special tokens included; None for no limit.
    dtype: that it computes in.
    """

    name: str
    prompts: Mapping[str, str]
    dims: tuple[int, ...]
    max_tokens: int | None
    dtype: str


class Encoder(Protocol):
    """What the batches are handed to, in one thread that is not the event loop's."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text at its full length, special tokens included."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(texts, dim)` of full size; texts that are too long are cut on the right."""
        ...


class ModelEncoder:
    """`Encoder` over a loaded model. Prompts already stand in front of the texts."""

    def __init__(self, model: "CodeEmbedder", *, batch_texts: int) -> None:
        self._model = model
        self._batch_texts = batch_texts

    def count(self, texts: Sequence[str]) -> list[int]:
        tokenizer: Any = self._model.tokenizer
        return [len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]

    def encode(self, texts: Sequence[str]) -> Vectors:
        vectors = self._model.encode(
            list(texts),
            prompt="",
            batch_size=self._batch_texts,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32)


def served(model: "CodeEmbedder", name: str) -> Served:
    """What there is to know of a loaded model."""
    dims = model.matryoshka_dims or (model.get_embedding_dimension() or 0,)
    return Served(
        name=name,
        prompts={name: prompt or "" for name, prompt in model.prompts.items()},
        dims=dims,
        max_tokens=model.max_seq_length,
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
    )


def cut(vectors: Vectors, dims: int, *, normalize: bool) -> Vectors:
    """The first `dims` numbers of each vector, brought back to length 1 if `normalize`."""
    first = vectors[:, :dims]
    lengths = np.linalg.norm(first, axis=1, keepdims=True)
    return np.asarray(first / lengths, dtype=np.float32) if normalize else first
