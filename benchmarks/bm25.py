"""BM25 over code: the score every embedding model has to beat before it is worth its electricity."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codequarry.common.errors import UserError

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

_WORD = re.compile(r"[A-Za-z]+|[0-9]+")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PLAIN = re.compile(r"\w+")

Words = Callable[[str], list[str]]
Places = NDArray[np.int64]


def places_among(
    place: Mapping[str, int], query: str, top_ranked: Mapping[str, Sequence[str]] | None
) -> Places:
    """The places of the documents that a query is answered out of, as MTEB's search protocol says it.

    Arguments: `place` of each document by its id; `query`, its id; `top_ranked`, the ids of each query's
    documents; None: all are searched.
    """
    if top_ranked is None:
        return np.arange(len(place))
    return np.array([place[name] for name in top_ranked[query]], dtype=np.int64)


def code_words(text: str) -> list[str]:
    """The words of a text in lower case, identifiers cut at underscores and capitals.

    >>> code_words("parseHTTPDate(raw_value2)")
    ['parse', 'http', 'date', 'raw', 'value', '2']
    """
    return [
        part.lower()
        for word in _WORD.findall(text)
        for part in ([word] if word.isdigit() else _HUMP.findall(word))
    ]


def plain_words(text: str) -> list[str]:
    """The words of a text in lower case, identifiers whole: what a search engine does that knows no code.

    >>> plain_words("parseHTTPDate(raw_value2)")
    ['parsehttpdate', 'raw_value2']
    """
    return _PLAIN.findall(text.lower())


class BM25Search:
    """BM25 as MTEB's search protocol: index documents, then search them.

    BM25 (Robertson and Zaragoza, 2009) with k1 1.5 and b 0.75 in Lucene's form, as `bm25s` computes it.
    A document that shares no word with the query is not found at all; it never gains by how ties are broken.

    Arguments: `words` cuts a text; `name` is what MTEB files the results under, as `owner/model`.

    Raises UserError where bm25s is not installed.
    """

    def __init__(self, words: Words = code_words, name: str = "codequarry/bm25") -> None:
        try:
            import bm25s
        except ImportError as error:
            raise UserError("BM25 needs one more package: pip install 'codequarry[benchmark]'") from error
        self._engine = bm25s.BM25()
        self._version = str(bm25s.__version__)
        self._words = words
        self._name = name
        self._ids: list[str] = []

    def index(self, corpus: Iterable[Mapping[str, str]], **_: Any) -> None:
        """Take in the documents, mappings of `id`, `text` and perhaps `title`."""
        rows = [(row["id"], f"{row.get('title') or ''} {row['text']}") for row in corpus]
        self._ids = [name for name, _ in rows]
        # bm25s refuses a corpus without a single word; one that no query holds keeps it happy.
        words = [self._words(text) or [""] for _, text in rows]
        self._engine.index(words, show_progress=False)

    def search(
        self,
        queries: Iterable[Mapping[str, str]],
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """For each query id its best `top_k` documents with their scores, among `top_ranked` where given."""
        place = {name: position for position, name in enumerate(self._ids)}
        found = {}
        for query in queries:
            scores = self._scores(query["text"])
            among = places_among(place, query["id"], top_ranked)
            among = among[scores[among] > 0]
            best = among[np.argsort(-scores[among], kind="stable")[:top_k]]
            found[query["id"]] = {self._ids[position]: float(scores[position]) for position in best}
        return found

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name and version, so that MTEB keeps the results under them."""
        from mteb.models.model_meta import ModelMeta

        return ModelMeta.create_empty({"name": self._name, "revision": f"bm25s-{self._version}"})

    def _scores(self, text: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
        words = [word for word in self._words(text) if word in self._engine.vocab_dict]
        if not words:  # bm25s refuses a query of which it has no word
            return np.zeros(len(self._ids), dtype=np.float32)
        return np.asarray(self._engine.get_scores(words))
