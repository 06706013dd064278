"""Documents into unit vectors, at the precision this processor is fast in."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from codequarry.common.environment import fast_autocast, has_fast_bf16
from codequarry.inference.load import load
from codequarry.modules.backbone import MINI
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.tasks import DEFAULT_TASK, PromptFamily, Side, get_task

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder

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


_BATCHES_AT_ONCE = 16  # sentence-transformers sorts these by length; between two such calls a query may pass

# A tokenizer keeps the truncation and padding of its last call as state, so two threads in it at once disturb
# each other (six threads over one model: one failed). Async callers bring threads, and adapters share models.
_one_at_a_time = threading.Lock()


class TaskEmbedder:
    """Both sides of one task, as lists of floats.

    Arguments:
        model: a name or folder as in `codequarry.load`, or what it returned.
        task: one of the five tasks.
        dims: numbers a vector, one of the model's Matryoshka dimensions; None for all, or for those that a
            loaded model was asked for. Vectors have length 1 at every size.
        device: where a named model goes, as in `codequarry.load`; None picks the fastest there is.

    A pickled copy of a named model holds the name and loads it again; of a loaded one, the weights.

    Raises ValueError for a model that cannot be loaded, another kind of model, a dimension it was not
    trained for, an unknown task, and a device for a model that is already on one.

    >>> sides = TaskEmbedder("mini", task="qa", dims=128)
    >>> len(sides.query("Why does 0.1 + 0.2 not equal 0.3?"))
    128
    """

    def __init__(
        self,
        model: str | CodeEmbedder = MINI,
        *,
        task: str = DEFAULT_TASK,
        dims: int | None = None,
        device: str | None = None,
    ) -> None:
        self.task = get_task(task).name
        self.device = device
        self.name = model if isinstance(model, str) else None
        if isinstance(model, str):
            self.model = load(model, device=device)
        else:
            self.model = _checked(model, device)
        self.dims = self.model.truncate_dim if dims is None else dims
        if self.dims is not None:
            self.model.check_dims(self.dims)

    def query(self, text: str) -> list[float]:
        """The unit vector of what is searched with. Raises ValueError for a text that no model can read."""
        _refuse_unreadable([text])
        return self._embed([text], "query", 1)[0]

    def documents(
        self, texts: Sequence[str], *, batch_size: int, progress: bool | None = None
    ) -> list[list[float]]:
        """The unit vectors of what is searched for, in the order given.

        Arguments: `batch_size` texts go through the model together; `progress` shows a bar once two seconds
        have passed, None on a terminal only. Raises ValueError, before anything is embedded, for an empty
        text, half a surrogate pair, and a batch size below 1.
        """
        if batch_size < 1:
            raise ValueError(f"a batch of {batch_size} texts cannot be embedded: pass 1 or more, such as 32.")
        _refuse_unreadable(texts)
        vectors: list[list[float]] = []
        hidden = None if progress is None else not progress
        with tqdm(
            total=len(texts), desc="embedding", unit=" texts", delay=2, leave=False, disable=hidden
        ) as bar:
            for some in _in_groups(texts, batch_size * _BATCHES_AT_ONCE):
                vectors += self._embed(some, "document", batch_size)
                bar.update(len(some))
        return vectors

    def _embed(self, texts: Sequence[str], side: Side, batch_size: int) -> list[list[float]]:
        encode = self.model.encode_query if side == "query" else self.model.encode_document
        with _one_at_a_time:
            vectors = encode(
                list(texts),
                task=self.task,
                batch_size=batch_size,
                truncate_dim=self.dims,
                show_progress_bar=False,
            )
        numbers: list[list[float]] = vectors.tolist()
        return numbers

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model" or self.name is None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.name is not None:
            self.model = load(self.name, device=self.device)


def _checked(model: Any, device: str | None) -> CodeEmbedder:
    if not isinstance(model, CodeEmbedder):
        raise ValueError(
            f"a {type(model).__name__} knows nothing of tasks: pass a name, a folder, or what "
            "codequarry.load returned."
        )
    if device is not None:
        raise ValueError(
            f"the model is loaded already, on {model.device}: move it with model.to({device!r}), or pass its "
            "name with the device."
        )
    return model


def _refuse_unreadable(texts: Sequence[str]) -> None:
    for position, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise ValueError(f"text {position} of {len(texts)} is {type(text).__name__}, not a string.")
        if not text.strip():
            raise ValueError(
                f"text {position} of {len(texts)} is empty, as many an __init__.py is: its vector would be "
                "the prompt's own. Leave it out."
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text {position} of {len(texts)} has half a surrogate pair at character {error.start + 1}, "
                "which no tokenizer takes. Read its file with errors='replace'."
            ) from error


def _in_groups(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))


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


class TextEncoder(Protocol):
    """What the batches are handed to, in one thread that is not the event loop's."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text at its full length, special tokens included."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(texts, dim)` of full size; texts that are too long are cut on the right."""
        ...


class ModelEncoder:
    """`TextEncoder` over a loaded model. Prompts already stand in front of the texts."""

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
