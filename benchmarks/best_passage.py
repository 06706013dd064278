"""A file is as near to a query as the nearest of its passages: any search over texts, made one over files.

A model reads a few hundred tokens. A source file has thousands, and begins with a licence and imports.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta


class BestPassageSearch:
    """A search of MTEB's protocol that sees passages, and answers with the documents they are from.

    Arguments:
        search: what finds passages, e.g. `BM25Search`, or MTEB's `SearchEncoderWrapper` around a model.
        passages: by document id its passages. Equal texts are searched once, whatever they are from.

    A document's score is its best passage's (MaxP: Dai and Callan, SIGIR 2019).
    """

    def __init__(self, search: Any, passages: Mapping[str, Sequence[str]]) -> None:
        self._search = search
        self._names: dict[str, str] = {}  # by text
        self._of_document = {
            document: [self._names.setdefault(text, f"p{len(self._names)}") for text in texts]
            for document, texts in passages.items()
        }
        self._documents: list[str] = []

    def index(self, corpus: Iterable[Mapping[str, str]], **settings: Any) -> None:
        """Take in the passages of the documents of a corpus, which are known by their ids."""
        from datasets import Dataset

        self._documents = [row["id"] for row in corpus]
        wanted = {name for document in self._documents for name in self._of_document[document]}
        texts = {name: text for text, name in self._names.items() if name in wanted}
        self._search.index(Dataset.from_dict({"id": list(texts), "text": list(texts.values())}), **settings)

    def search(
        self,
        queries: Sequence[Mapping[str, str]],
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ) -> dict[str, dict[str, float]]:
        """For each query id its best `top_k` documents with their scores, among `top_ranked` where given."""
        among = {query["id"]: self._documents for query in queries} if top_ranked is None else top_ranked
        passages = {
            query: list(dict.fromkeys(name for document in documents for name in self._of_document[document]))
            for query, documents in among.items()
        }
        found = self._search.search(queries, top_k=len(self._names), top_ranked=passages, **settings)
        answers = {}
        for query, scores in found.items():
            best = {
                document: max(scores[name] for name in self._of_document[document] if name in scores)
                for document in among[query]
                if not scores.keys().isdisjoint(self._of_document[document])
            }
            ranked = sorted(best, key=lambda document: (best[document], document), reverse=True)[:top_k]
            answers[query] = {document: best[document] for document in ranked}
        return answers

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name and revision of the search over passages."""
        meta: ModelMeta = self._search.mteb_model_meta
        return meta
