"""Texts into vectors: the one place where a model encodes for search, server, integrations and benchmarks."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from codequarry.common.environment import fast_autocast, has_fast_bf16
from codequarry.common.errors import UserError
from codequarry.modules.static_files import STATIC
from codequarry.modules.tasks import PromptFamily, Side
from codequarry.modules.text_checks import check_query, empty_texts, refuse_empty

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from codequarry.modules.embedder import CodeEmbedder

Vectors = NDArray[np.float32]

# What becomes of a text that gives the model no token, so that its vector would be the prompt's own: `refuse`
# it and all that come with it, pass it over with `skip`, or put in `zero`s, which are like no other vector.
Empty = Literal["refuse", "skip", "zero"]

Arithmetic = Literal["fp32", "bf16", "int8"]

BATCH = 32  # texts


class TaskModel(Protocol):
    """What search needs of a model; `codequarry.load` returns one."""

    truncate_dim: int | None

    @property
    def fingerprint(self) -> str: ...

    @property
    def prompt_family(self) -> PromptFamily: ...

    @property
    def device(self) -> Any: ...

    def get_embedding_dimension(self) -> int | None: ...

    @property
    def encode(self) -> Callable[..., Any]: ...


@dataclass(frozen=True, slots=True)
class Space:
    """Everything a document's vector depends on besides its text; vectors of two spaces are not comparable.

    fingerprint: of the model.
    prefix: the prompt in front of each document.
    dims: dimensions of a vector.
    precision: `as loaded`, `bf16` for autocast to bfloat16, or `int8`.
    """

    fingerprint: str
    prefix: str
    dims: int
    precision: str


# A tokenizer keeps the truncation and padding of its last call as state, so two threads in it at once disturb
# each other (six threads over one model: one failed). Async callers bring threads, and adapters share models.
_ONE_CALL_AT_A_TIME = threading.Lock()


class Encoder:
    """A loaded model, as search, server, integrations and benchmarks encode with it.

    Arguments:
        model: any `SentenceTransformer`; methods that take a task need what `codequarry.load` returns.
        batch_size: texts per forward pass.
    """

    def __init__(self, model: "SentenceTransformer | TaskModel", *, batch_size: int = BATCH) -> None:
        self.model: Any = model
        self.batch_size = batch_size

    def encode(
        self,
        texts: Sequence[str],
        prompt: str = "",
        *,
        side: Side | None = None,
        dims: int | None = None,
        normalize: bool = False,
        bf16: bool = False,
        progress: bool = False,
        empty: Literal["refuse", "zero"] = "refuse",
    ) -> Vectors:
        """Vectors `(texts, dims)` in float32; texts that are too long are cut on the right.

        Arguments: `prompt` is put in front of each text; `side` is for models whose modules differ by it;
        `dims` a Matryoshka dimension, None for all that the model gives; `normalize` divides by the length,
        which models with a Normalize module do without it; `bf16` autocasts where the device is faster in
        bfloat16; `empty` is what becomes of a text that gives the model no token (see `Empty`).

        Raises UserError, before anything is embedded, for half a surrogate pair, and for an empty text.
        """
        texts = list(texts)
        silent = self.empty_texts(texts, prompt)
        if silent and empty == "refuse":
            refuse_empty(texts, silent)
        if silent:
            kept = all_but(texts, silent)
            some = self.encode(
                kept, prompt, side=side, dims=dims, normalize=normalize, bf16=bf16, progress=progress
            )
            return with_zeros(some, silent, dims or self.model.get_embedding_dimension() or 0)
        options: dict[str, Any] = {"normalize_embeddings": True} if normalize else {}
        if side is not None:
            options["task"] = side
        if dims is not None:
            options["truncate_dim"] = dims
        faster = fast_autocast(self.model.device.type) if bf16 else nullcontext()
        with _ONE_CALL_AT_A_TIME, faster:
            found = self.model.encode(
                texts,
                prompt=prompt,
                batch_size=self.batch_size,
                show_progress_bar=progress,
                convert_to_numpy=True,
                **options,
            )
        return np.asarray(found, dtype=np.float32)

    def empty_texts(self, texts: Sequence[str], prompt: str = "") -> list[int]:
        """The positions of the texts that give the model no token behind `prompt`: see `empty_texts`.

        Raises UserError for half a surrogate pair, and for what is no string.
        """
        with _ONE_CALL_AT_A_TIME:
            return empty_texts(self.model, texts, prompt)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text at its full length, special tokens included."""
        with _ONE_CALL_AT_A_TIME:
            ids = self.model.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return [len(row) for row in ids]

    def space(self, task: str) -> Space:
        """The space in which this model puts the documents of `task`.

        Tasks with the same document prefix, as nl2code and code2code in the family `code`, share one space.
        """
        model = self.model
        dims = model.get_embedding_dimension() if model.truncate_dim is None else model.truncate_dim
        if not dims:
            raise UserError("this model does not give the dimensions of its vectors: search cannot use it.")
        # bfloat16 moves a score by about 0.001 and doubles the speed where the processor has it.
        arithmetic = arithmetic_of(model)
        precision = "as loaded" if arithmetic == "fp32" else arithmetic
        return Space(model.fingerprint, model.prompt_family.prefix(task, "document"), dims, precision)

    def encode_documents(self, texts: Sequence[str], space: Space) -> Vectors:
        """Unit vectors `(texts, dims)` of documents, normalised in float32 whatever the model computes in.

        The vector of a text that gives the model no token is zero, like that of no query.

        Raises UserError for vectors of another shape, and for one that is zero or not finite.
        """
        silent = self.empty_texts(texts, space.prefix)
        found = self.encode(all_but(texts, silent), space.prefix, side="document", bf16=True)
        return with_zeros(_checked_unit(found, space.dims) if len(found) else found, silent, space.dims)

    def check_query(self, text: str, task: str) -> None:
        """Raise UserError for a query that `encode_query` would refuse, before anything else is done."""
        prompt = self.model.prompt_family.prefix(task, "query")
        check_query(text, lambda: bool(self.empty_texts([text], prompt)))

    def encode_query(self, text: str, task: str, space: Space) -> Vectors:
        """The unit vector `(dims,)` of a query. Raises as `encode_documents` does."""
        prompt = self.model.prompt_family.prefix(task, "query")
        unit: Vectors = _checked_unit(self.encode([text], prompt, side="query", bf16=True), space.dims)[0]
        return unit


def can_use_bf16(model: Any) -> bool:
    """Whether `encode` with `bf16` computes in bfloat16: the processor is fast in it, and the runtime does.

    A static model multiplies nothing that autocast would round; ONNX Runtime computes in float32, `int8` in
    integers.
    """
    static = getattr(getattr(model, "config", None), "model_type", None) == STATIC
    runtime = getattr(model, "runtime", model)
    return has_fast_bf16(model.device.type) and not static and bool(getattr(runtime, "bf16", True))


def arithmetic_of(model: Any, *, bf16: bool = True) -> Arithmetic:
    """What the products of a model are computed in; `bf16`, whether that is let where it is faster."""
    if getattr(getattr(model, "runtime", model), "int8", False):
        return "int8"
    return "bf16" if bf16 and can_use_bf16(model) else "fp32"


def all_but(texts: Sequence[str], places: Collection[int]) -> list[str]:
    """The texts without those at `places`."""
    left_out = set(places)
    return [text for place, text in enumerate(texts) if place not in left_out]


def with_zeros(vectors: Vectors, places: Sequence[int], dims: int) -> Vectors:
    """Zero vectors put in at `places` of the result, `(len(vectors) + len(places), dims)`."""
    if not places:
        return vectors
    full: Vectors = np.zeros((len(vectors) + len(places), dims), dtype=np.float32)
    if len(vectors):
        full[np.delete(np.arange(len(full)), places)] = vectors
    return full


def unit_vectors(vectors: Vectors) -> Vectors:
    """Each row of `(texts, dims)` divided by its length; a zero row stays zero, one with NaN stays NaN."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths != 0)
    return unit


def truncate(vectors: Vectors, dims: int) -> Vectors:
    """The first `dims` dimensions of each vector, normalised again; a zero vector stays zero.

    sentence-transformers truncates after its Normalize module and leaves the vectors shorter than 1.
    """
    return unit_vectors(vectors[:, :dims])


def _checked_unit(vectors: Vectors, dims: int) -> Vectors:
    if vectors.ndim != 2 or vectors.shape[1] != dims:
        raise UserError(
            f"the model gave vectors of shape {vectors.shape} where {dims} dimensions were expected: "
            "check its truncate_dim and get_embedding_dimension()."
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise UserError("the model gave a vector that is zero or not finite: its weights are damaged.")
    return unit_vectors(vectors)


@dataclass(frozen=True)
class Served:
    """The model as a server describes it to clients.

    name: as requests name it. prompts: by name. dims: trained dimensions, largest first.
    max_tokens: per text, prompt and special tokens included; None for no limit.
    dtype: of its weights, or `int8`.
    """

    name: str
    prompts: Mapping[str, str]
    dims: tuple[int, ...]
    max_tokens: int | None
    dtype: str


def served(model: "CodeEmbedder", name: str) -> Served:
    """The `Served` of a loaded model."""
    dims = model.matryoshka_dims or (model.get_embedding_dimension() or 0,)
    weights = str(next(model.parameters()).dtype).removeprefix("torch.")
    return Served(
        name=name,
        prompts={name: prompt or "" for name, prompt in model.prompts.items()},
        dims=dims,
        max_tokens=model.max_seq_length,
        dtype="int8" if arithmetic_of(model) == "int8" else weights,
    )
