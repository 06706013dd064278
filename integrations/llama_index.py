"""codequarry as LlamaIndex's embedding model, with the right prompt on each side.

    from codequarry.integrations.llama_index import CodequarryEmbedding

    index = VectorStoreIndex(nodes, embed_model=CodequarryEmbedding(task="nl2code"))

LlamaIndex's own class for sentence-transformers drops the prompt of queries that a model was saved with, and
asks for one of documents by a name that no model has, unless its user copies both into the program.
"""

import asyncio
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import MissingPackageError, UserError

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.schema import BaseNode, MetadataMode
except ImportError as error:
    raise MissingPackageError(
        "codequarry.integrations.llama_index needs llama-index-core: pip install 'codequarry[llama-index]'"
    ) from error

from codequarry.inference.encoder import Empty
from codequarry.inference.task_embedder import TaskEmbedder
from codequarry.modules.backbone import MINI
from codequarry.modules.tasks import DEFAULT_TASK
from codequarry.modules.text_checks import refuse_empty

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder

_LOADED = "a loaded model, "
_FIELDS = ("model_name", "task", "dims", "device", "empty")  # what decides the vectors
_NO_PLACE = (
    "empty='skip' leaves its node out where the embedding is called with nodes, as in an IngestionPipeline; "
    "here one vector a text is due: leave the text out, or pass empty='zero'."
)


class CodequarryEmbedding(BaseEmbedding):
    """LlamaIndex `BaseEmbedding` for one of the five tasks.

    `get_query_embedding` is the side that is searched with; every other call, `get_text_embedding` too, is
    the side that is searched for. The async calls run in a thread and do not block the event loop.

    Arguments:
        model_name: a name or folder as in `codequarry.load`, or what it returned.
        task: one of the five tasks. For a second task over the same model, pass the loaded model to both.
        dims: dimensions of a vector, one of the model's Matryoshka dimensions; None for all.
        device: where a named model goes; None picks the fastest there is.
        embed_batch_size: documents that go through the model together.
        empty: what becomes of a text that gives the model no token: `refuse` raises before anything is
            embedded; `zero` gives a vector of zeros; `skip` leaves its node out of an `IngestionPipeline` or
            of any other call of the embedding with nodes, and refuses it where one vector a text is due.
        others: what `BaseEmbedding` takes besides, such as `callback_manager`.

    Setting `model_name`, `task`, `dims`, `device` or `empty`, or giving them to `model_copy`, is obeyed, and
    refused as here where it cannot be. Vectors of before the change do not go with those after it.

    `to_dict` names model, task, dims and device, and `from_dict` loads them again. A model that was passed
    loaded is named there by its fingerprint: a cache tells it from every other, `from_dict` refuses it.

    Raises UserError for what `TaskEmbedder` refuses (an unknown task, model or dimension, and empty
    texts), and for LlamaIndex's `embeddings_cache`, whose keys leave the side out.

    >>> embedding = CodequarryEmbedding("runs/own", task="code2code", dims=128)
    >>> len(embedding.get_query_embedding("total = sum(a)"))
    128
    """

    task: str = Field(default=DEFAULT_TASK, description="One of codequarry's five tasks.")
    dims: int | None = Field(default=None, description="Dimensions of a vector; None for all.")
    device: str | None = Field(default=None, description="Where the model runs; None for the fastest.")
    empty: Empty = Field(default="refuse", description="What becomes of a text without tokens.")
    _sides: TaskEmbedder = PrivateAttr()
    _made_of: tuple[Any, ...] = PrivateAttr()

    def __init__(
        self,
        model_name: "str | CodeEmbedder" = MINI,
        *,
        task: str = DEFAULT_TASK,
        dims: int | None = None,
        device: str | None = None,
        embed_batch_size: int = 32,
        empty: Empty = "refuse",
        **others: Any,
    ) -> None:
        _refuse_cache(others.get("embeddings_cache"))
        sides = _sides(model_name, task, dims, device, empty)
        fields: dict[str, Any] = _fields(sides)
        super().__init__(embed_batch_size=embed_batch_size, **fields, **others)
        self._sides, self._made_of = sides, tuple(fields.values())

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "embeddings_cache":
            _refuse_cache(value)
        if name not in _FIELDS:
            return super().__setattr__(name, value)
        before = getattr(self, name)
        super().__setattr__(name, value)
        try:
            self._current()
        except BaseException:
            super().__setattr__(name, before)
            raise

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> "CodequarryEmbedding":
        """A copy, as if it had been made with the fields of `update`. Raises UserError as making one does."""
        copied = super().model_copy(update=update, deep=deep)
        copied._current()
        return copied

    def _current(self) -> TaskEmbedder:
        """The embedder that the fields ask for: made anew where one of them was changed since, in any way."""
        _refuse_cache(self.embeddings_cache)
        asked = tuple(getattr(self, name) for name in _FIELDS)
        if asked != self._made_of:
            model, task, dims, device, empty = asked
            moved = device != self._made_of[3]
            if model == self._made_of[0] and not (moved and self._sides.name):  # the same weights
                sides = _sides(self._sides.model, task, dims, device if moved else None, empty)
                sides.name, sides.device = self._sides.name, self._sides.device
            else:
                sides = _sides(model, task, dims, device, empty)
            fields = _fields(sides) | {"model_name": model}
            for name, value in fields.items():
                super().__setattr__(name, value)
            self._sides, self._made_of = sides, tuple(fields.values())
        return self._sides

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex writes into saved settings."""
        return "CodequarryEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._current().query(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        # LlamaIndex hands over one batch at a time and draws the bar itself.
        sides = self._current()
        if sides.empty == "skip" and (empty := sides.empty_documents(texts)):
            refuse_empty(texts, sorted(empty), _NO_PLACE)
        return sides.documents(texts, batch_size=self.embed_batch_size, progress=False)

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **others: Any
    ) -> list[list[float]]:
        """The unit vectors of documents. Raises UserError for an empty one before anything is embedded."""
        self._check(texts)
        return super().get_text_embedding_batch(texts, show_progress, **others)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **others: Any
    ) -> list[list[float]]:
        """The same, in threads."""
        await asyncio.to_thread(self._check, texts)
        return await super().aget_text_embedding_batch(texts, show_progress, **others)

    def _check(self, texts: list[str]) -> None:
        empty = self._current().empty_documents(texts)
        if empty and self.empty == "skip":
            refuse_empty(texts, sorted(empty), _NO_PLACE)

    def __call__(self, nodes: Sequence[BaseNode], **others: Any) -> Sequence[BaseNode]:
        """The nodes with their vectors; with `empty="skip"` without those that give the model no token."""
        return super().__call__(self._kept(nodes), **others)

    async def acall(self, nodes: Sequence[BaseNode], **others: Any) -> Sequence[BaseNode]:
        """The same, in threads."""
        return await super().acall(await asyncio.to_thread(self._kept, nodes), **others)

    def _kept(self, nodes: Sequence[BaseNode]) -> Sequence[BaseNode]:
        if self.empty != "skip":
            return nodes
        texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        empty = self._current().empty_documents(texts)
        if empty:
            names = [nodes[place].node_id for place in sorted(empty)[:3]]
            warnings.warn(
                f"{len(empty)} of {len(nodes)} nodes are left out, because their texts give the model no "
                f"token: {', '.join(names)}{', …' if len(empty) > 3 else ''}.",
                stacklevel=3,
            )
        return [node for place, node in enumerate(nodes) if place not in empty]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def _refuse_cache(cache: Any) -> None:
    if cache is not None:
        raise UserError(
            "embeddings_cache files a text under its words alone, so a query that was once a document "
            "would get the document's vector. Leave it out; an IngestionPipeline's cache is safe."
        )


def _sides(model: Any, task: str, dims: int | None, device: str | None, empty: Empty) -> TaskEmbedder:
    if isinstance(model, str) and model.startswith(_LOADED):
        raise UserError(
            f"this embedding was made from {model}, whose weights are not kept in a dictionary: "
            "make it anew with CodequarryEmbedding(model, …), or with the model's name."
        )
    return TaskEmbedder(model, task=task, dims=dims, device=device, empty=empty)


def _fields(sides: TaskEmbedder) -> dict[str, Any]:
    name = sides.name or _LOADED + sides.model.fingerprint[:16]
    return dict(zip(_FIELDS, (name, sides.task, sides.dims, sides.device, sides.empty), strict=True))
