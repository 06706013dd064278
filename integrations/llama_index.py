"""codequarry as LlamaIndex's embedding model, with the right prompt on each side.

    from codequarry.integrations.llama_index import CodequarryEmbedding

    index = VectorStoreIndex(nodes, embed_model=CodequarryEmbedding(task="nl2code"))

LlamaIndex's own class for sentence-transformers drops the prompt of queries that a model was saved with, and
asks for one of documents by a name that no model has, unless its user copies both into the program.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import MissingPackageError, UserError

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
except ImportError as error:
    raise MissingPackageError(
        "codequarry.integrations.llama_index needs llama-index-core: pip install 'codequarry[llama-index]'"
    ) from error

from codequarry.inference.encoder import TaskEmbedder
from codequarry.modules.backbone import MINI
from codequarry.modules.tasks import DEFAULT_TASK

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder

_LOADED = "a loaded model, "


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
        others: what `BaseEmbedding` takes besides, such as `callback_manager`.

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
    _sides: TaskEmbedder = PrivateAttr()

    def __init__(
        self,
        model_name: "str | CodeEmbedder" = MINI,
        *,
        task: str = DEFAULT_TASK,
        dims: int | None = None,
        device: str | None = None,
        embed_batch_size: int = 32,
        **others: Any,
    ) -> None:
        if isinstance(model_name, str) and model_name.startswith(_LOADED):
            raise UserError(
                f"this embedding was made from {model_name}, whose weights are not kept in a dictionary: "
                "make it anew with CodequarryEmbedding(model, …), or with the model's name."
            )
        if others.get("embeddings_cache") is not None:
            raise UserError(
                "embeddings_cache files a text under its words alone, so a query that was once a document "
                "would get the document's vector. Leave it out; an IngestionPipeline's cache is safe."
            )
        sides = TaskEmbedder(model_name, task=task, dims=dims, device=device)
        fields: dict[str, Any] = {"task": sides.task, "dims": sides.dims, "device": device}
        super().__init__(
            model_name=sides.name or _LOADED + sides.model.fingerprint[:16],
            embed_batch_size=embed_batch_size,
            **fields,
            **others,
        )
        self._sides = sides

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex writes into saved settings."""
        return "CodequarryEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._sides.query(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        # LlamaIndex hands over one batch at a time and draws the bar itself.
        return self._sides.documents(texts, batch_size=self.embed_batch_size, progress=False)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
