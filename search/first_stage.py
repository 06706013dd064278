"""The first two stages of a search: static vectors and BM25 over all chunks of a kind, fused.

Both are exact: a matrix product over all vectors, and lists by token. For 100,000 chunks they take
milliseconds; an approximate index (usearch, FAISS, LanceDB) would bring 130 to 446 MB of library.
"""

import numpy as np

from codequarry.search.fusion import WEIGHTS, Scores, fuse
from codequarry.search.index import Features, FirstModel
from codequarry.search.lexical import LexicalIndex


class FirstStage:
    """The chunks of a kind, ready to be ranked by any number of queries.

    features: of these chunks. model: what the features were made with.
    """

    def __init__(self, features: Features, model: FirstModel) -> None:
        self.features = features
        self._model = model
        self._lexical = LexicalIndex(features.bags)

    def scores(self, query: str, task: str) -> Scores:
        """How well each chunk answers `(chunks,)`, on the scale of cosine similarity: see `fusion.fuse`."""
        dense = self.features.vectors @ self._model.encode_query(query, task)
        words = self._lexical.scores(np.asarray(self._model.token_ids([query])[0]))
        return fuse(dense, words, WEIGHTS[task].lexical)


def best_first(scores: Scores) -> np.ndarray:
    """The places of the scores, best first.

    Equal texts have equal scores only up to the last bits of a matrix product: rounded, they keep the order
    of path and line.
    """
    return np.argsort(-np.round(scores, 6), kind="stable")
