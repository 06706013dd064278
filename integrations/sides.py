"""A model and one task, seen from both sides: what every adapter to another program is made of.

Such programs know two calls, one for a query and one for documents. Here each gets its side's prompt, and the
text itself stays as it is.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from codequarry.modules.backbone import MINI
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.load import load
from codequarry.modules.tasks import DEFAULT_TASK, Side, get_task

_BATCHES_AT_ONCE = 16  # sentence-transformers sorts these by length; between two such calls a query may pass

# A tokenizer keeps the truncation and padding of its last call as state, so two threads in it at once disturb
# each other (six threads over one model: one failed). Async callers bring threads, and adapters share models.
_one_at_a_time = threading.Lock()


class Sides:
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

    >>> sides = Sides("mini", task="qa", dims=128)
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
