"""`TaskEmbedder`: both sides of one task as lists of floats, for the adapters and for embedding in bulk."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast, get_args

from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.inference.encoder import Empty, Encoder, all_but
from codequarry.modules.backbone import MINI
from codequarry.modules.tasks import DEFAULT_TASK, Side, get_task
from codequarry.modules.text_checks import refuse_empty

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder

_BATCHES_AT_ONCE = 16  # sentence-transformers sorts these by length; between two such calls a query may pass


class TaskEmbedder:
    """Both sides of one task, as lists of floats.

    Arguments:
        model: a name or folder as in `codequarry.load`, or what it returned.
        task: one of the five tasks.
        dims: one of the model's Matryoshka dimensions; None for the model's own `truncate_dim`, or all.
            Vectors have unit length at every size.
        device: where a named model goes, as in `codequarry.load`; None picks the fastest there is.
        empty: what becomes of a text that gives the model no token, such as an empty file, a byte order mark
            or a zero-width space: `refuse` raises, `zero` gives a vector of zeros, and `skip` gives None in
            place of a document's vector, so that places stay; a query is refused then, since nothing can be
            searched with it.

    A pickled copy of a named model holds the name and loads it again; of a loaded one, the weights.

    Raises UserError for a model that cannot be loaded, another kind of model, a dimension it was not
    trained for, an unknown task or way with empty texts, and a device for a model that is already on one.

    >>> sides = TaskEmbedder("mini", task="qa", dims=128)
    >>> len(sides.query("Why does 0.1 + 0.2 not equal 0.3?"))
    128
    """

    def __init__(
        self,
        model: "str | CodeEmbedder" = MINI,
        *,
        task: str = DEFAULT_TASK,
        dims: int | None = None,
        device: str | None = None,
        empty: Empty = "refuse",
    ) -> None:
        self.task = get_task(task).name
        if empty not in get_args(Empty):
            raise UserError(
                f"empty={empty!r} is none of the ways with a text that has no tokens: pass "
                f"{', '.join(get_args(Empty))}."
            )
        self.empty: Empty = empty
        self.device = device
        self.name = model if isinstance(model, str) else None
        if isinstance(model, str):
            self.model = _load(model, device)
        else:
            self.model = _checked(model, device)
        self.dims = self.model.truncate_dim if dims is None else dims
        if self.dims is not None:
            self.model.check_dims(self.dims)

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.dims or self.model.get_embedding_dimension() or 0

    def namespace(self, side: Side) -> str:
        """What tells the vectors of this side in a cache from all others: weights, prompts, task, dims, side.

        The weights are hashed at each call, which takes a second for a gigabyte.
        """
        model = self.model
        return f"{model.fingerprint}-{model.prompt_family.name}-{self.task}-{self.size}-{side}-"

    def query(self, text: str) -> list[float]:
        """The unit vector of a query. Raises UserError for an empty text, and one that no model can read."""
        silent = self._silent([text], "query", self.empty != "zero")
        return [0.0] * self.size if silent else self._embed([text], "query", 1)[0]

    def documents(
        self, texts: Sequence[str], *, batch_size: int, progress: bool | None = None
    ) -> list[list[float]]:
        """The unit vectors of documents, in the order given; for empty texts as `empty` says.

        Arguments: `batch_size` texts go through the model together; `progress` shows a bar after two seconds;
        None shows it on a terminal only. Raises UserError, before anything is embedded, for an empty
        text, half a surrogate pair, and a batch size below 1.
        """
        if batch_size < 1:
            raise UserError(f"a batch of {batch_size} texts cannot be embedded: pass 1 or more, such as 32.")
        silent = self.empty_documents(texts)
        kept = iter(self._embed_all(all_but(texts, silent), batch_size, progress))
        # Where texts are skipped, callers find None and the type is a promise of the others alone.
        nothing = cast("list[float]", None)
        return [
            (nothing if self.empty == "skip" else [0.0] * self.size) if place in silent else next(kept)
            for place in range(len(texts))
        ]

    def empty_documents(self, texts: Sequence[str]) -> set[int]:
        """The positions of texts that give the model no token. Raises UserError where `documents` does."""
        return self._silent(texts, "document", self.empty == "refuse")

    def _silent(self, texts: Sequence[str], side: Side, refused: bool) -> set[int]:
        prompt = self.model.prompt_family.prefix(self.task, side)
        found = Encoder(self.model).empty_texts(texts, prompt)
        if refused:
            ways = "'zero' for a vector of zeros" + (", or 'skip'" if side == "document" else "")
            refuse_empty(texts, found, f"Leave it out, or pass empty={ways}.")
        return set(found)

    def _embed_all(self, texts: list[str], batch_size: int, progress: bool | None) -> list[list[float]]:
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
        prompt = self.model.prompt_family.prefix(self.task, side)
        encoder = Encoder(self.model, batch_size=batch_size)
        numbers: list[list[float]] = encoder.encode(texts, prompt, side=side, dims=self.dims).tolist()
        return numbers

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model" or self.name is None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.name is not None:
            self.model = _load(self.name, self.device)


def _load(name: str, device: str | None) -> "CodeEmbedder":
    from codequarry.inference.load import load  # imports torch, which search by itself does not need

    return load(name, device=device)


def _checked(model: Any, device: str | None) -> "CodeEmbedder":
    from codequarry.modules.embedder import CodeEmbedder

    if not isinstance(model, CodeEmbedder):
        raise UserError(
            f"a {type(model).__name__} has no tasks: pass a name, a folder, or what codequarry.load returned."
        )
    if device is not None:
        raise UserError(
            f"the model is loaded already, on {model.device}: move it with model.to({device!r}), or pass its "
            "name with the device."
        )
    return model


def _in_groups(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))
