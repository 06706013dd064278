"""Documents into unit vectors, at the precision this processor is fast in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codequarry.modules.machine import fast_autocast, has_fast_bf16
from codequarry.modules.tasks import PromptFamily

Vectors = NDArray[np.float32]
BATCH = 32  # texts


class Encoder(Protocol):
    """What search needs of a model; `codequarry.load` returns one."""

    truncate_dim: int | None

    @property
    def fingerprint(self) -> str: ...

    @property
    def prompt_family(self) -> PromptFamily: ...

    @property
    def device(self) -> Any: ...

    def get_embedding_dimension(self) -> int | None: ...

    def encode_query(self, inputs: Any, *, task: str | None = None, **kwargs: Any) -> Any: ...

    def encode_document(self, inputs: Any, *, task: str | None = None, **kwargs: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Space:
    """Everything a document's vector depends on besides its text. Vectors of two spaces never meet.

    fingerprint: of the model.
    prefix: what stands in front of each document.
    dims: numbers a vector.
    precision: `as loaded`, or `bf16` for autocast to bfloat16.
    """

    fingerprint: str
    prefix: str
    dims: int
    precision: str


def space_of(model: Encoder, task: str) -> Space:
    """The space in which `model` puts the documents of `task`.

    Tasks with the same document prefix, as nl2code and code2code have in the family `code`, share one space.
    """
    dims = model.truncate_dim or model.get_embedding_dimension()
    if not dims:
        raise ValueError("this model does not say how many numbers its vectors have: search cannot use it.")
    # bfloat16 moves a score by about 0.001 and doubles the speed where the processor has it.
    precision = "bf16" if has_fast_bf16(model.device.type) else "as loaded"
    return Space(model.fingerprint, model.prompt_family.prefix(task, "document"), dims, precision)


def embed_documents(model: Encoder, texts: Sequence[str], task: str, space: Space) -> Vectors:
    """Unit vectors `(texts, dims)` of documents, normalised in float32 whatever the model computes in."""
    with fast_autocast(model.device.type):
        vectors = model.encode_document(list(texts), task=task, batch_size=BATCH, show_progress_bar=False)
    return _as_unit(vectors, space.dims)


def embed_query(model: Encoder, text: str, task: str, space: Space) -> Vectors:
    """The unit vector `(dims,)` of what is searched with; one text is fast enough as loaded."""
    vectors = model.encode_query([text], task=task, batch_size=BATCH, show_progress_bar=False)
    unit: Vectors = _as_unit(vectors, space.dims)[0]
    return unit


def _as_unit(vectors: Any, dims: int) -> Vectors:
    array: Vectors = np.array(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dims:
        raise ValueError(
            f"the model gave vectors of shape {array.shape} where {dims} numbers a text were expected: "
            "check its truncate_dim and get_embedding_dimension()."
        )
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms) & (norms > 0)):
        raise ValueError("the model gave a vector that is zero or not finite: its weights are damaged.")
    array /= norms
    return array
