"""codequarry as LangChain's embeddings, with the right prompt on each side.

    from codequarry.integrations.langchain import CodequarryEmbeddings

    store = InMemoryVectorStore.from_texts(files, CodequarryEmbeddings(task="nl2code"))

LangChain's own class for sentence-transformers sends no prompt unless it is configured, and one prompt on
both sides unless both are; and it replaces every newline by a space, which changes what Python code means.

LangChain's `CacheBackedEmbeddings` files a vector under the text alone, behind a namespace that its user
chooses. Two tasks and the two sides of one are kept apart by the namespaces of this class:

    cached = CacheBackedEmbeddings.from_bytes_store(
        embeddings, store, namespace=embeddings.namespace, key_encoder="sha256"
    )

`query_embedding_cache` is False there, or a second store. With True, or the same store again, a query that
was once a document gets the document's vector, because one namespace serves both sides: how both are kept in
one store is in integrations/README.md.
"""

from typing import TYPE_CHECKING

from codequarry.common.errors import MissingPackageError

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise MissingPackageError(
        "codequarry.integrations.langchain needs langchain-core: pip install 'codequarry[langchain]'"
    ) from error

from codequarry.inference.encoder import Empty
from codequarry.inference.task_embedder import TaskEmbedder
from codequarry.modules.backbone import MINI
from codequarry.modules.tasks import DEFAULT_TASK

if TYPE_CHECKING:
    from codequarry.modules.embedder import CodeEmbedder


class CodequarryEmbeddings(Embeddings):
    """LangChain `Embeddings` for one of the five tasks.

    `aembed_query` and `aembed_documents` run in a thread, so that the event loop is not blocked.

    Arguments:
        model: a name or folder as in `codequarry.load`, or what it returned.
        task: one of the five tasks. For a second task over the same model, pass the loaded model to both.
        dims: dimensions of a vector, one of the model's Matryoshka dimensions; None for all.
        device: where a named model goes; None picks the fastest there is.
        batch_size: documents that go through the model together.
        show_progress: a bar while documents are embedded, once two seconds have passed; None on a terminal
            only.
        empty: what becomes of a text that gives the model no token: `refuse` raises before anything is
            embedded; `zero` gives a vector of zeros; `skip` gives None in place of a document's vector, for
            programs that look for it (LangChain's vector stores want a vector: take `zero` there).

    Raises UserError for what `TaskEmbedder` refuses: an unknown task, model or dimension, and empty texts.

    >>> embeddings = CodequarryEmbeddings("runs/own", task="code2code", dims=128)
    >>> len(embeddings.embed_query("total = sum(a)"))
    128
    """

    def __init__(
        self,
        model: "str | CodeEmbedder" = MINI,
        task: str = DEFAULT_TASK,
        dims: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
        show_progress: bool | None = None,
        empty: Empty = "refuse",
    ) -> None:
        self._sides = TaskEmbedder(model, task=task, dims=dims, device=device, empty=empty)
        self.batch_size = batch_size
        self.show_progress = show_progress

    @property
    def model(self) -> "CodeEmbedder":
        """The loaded model."""
        return self._sides.model

    @property
    def task(self) -> str:
        """One of the five tasks. Fixed, as `dims` and `model` are: vectors of two tasks do not mix."""
        return self._sides.task

    @property
    def dims(self) -> int:
        """Dimensions of a vector."""
        return self._sides.size

    @property
    def namespace(self) -> str:
        """Tells the vectors of documents in a cache from all others: by weights, prompts, task and dims.

        Computed at each call, from the weights.
        """
        return self._sides.namespace("document")

    @property
    def query_namespace(self) -> str:
        """The same for queries."""
        return self._sides.namespace("query")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The unit vectors of what is searched for, in the order given."""
        return self._sides.documents(texts, batch_size=self.batch_size, progress=self.show_progress)

    def embed_query(self, text: str) -> list[float]:
        """The unit vector of what is searched with."""
        return self._sides.query(text)
