"""The first two stages of a search: static vectors and BM25 over all chunks of a kind, fused.

Both are exact: a matrix product over all vectors, and lists by token. For 100,000 chunks they take
milliseconds; an approximate index (usearch, FAISS, LanceDB) would bring 130 to 446 MB of library.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from codequarry.search.fusion import WEIGHTS, Scores, fuse
from codequarry.search.index import Features, FirstModel
from codequarry.search.lexical import LexicalIndex


class FirstStage:
    """The chunks of a kind, ready to be ranked by any number of queries.

    features: of these chunks. model: what the features were made with.
    """

    def __init__(self, features: Features, model: FirstModel) -> None:
        self._model = model
        self._lexical = LexicalIndex(features.bags)
        self.features = replace(features, bags=())  # sorted into lists now, and large

    def scores(self, query: str, task: str) -> Scores:
        """How well each chunk answers `(chunks,)`, on the scale of cosine similarity: see `fusion.fuse`."""
        dense = self.features.vectors @ self._model.encode_query(query, task)
        words = self._lexical.scores(np.asarray(self._model.token_ids([query])[0]))
        return fuse(dense, words, WEIGHTS[task].lexical)


def best_first(scores: Scores, most: int | None = None) -> np.ndarray:
    """The places of the scores, best first; with `most`, at least so many, without sorting the others.

    Equal texts have equal scores only up to the last bits of a matrix product: rounded, they keep the order
    of path and line.
    """
    falling = -np.round(scores, 6)
    if most is None or most >= len(falling):
        return np.argsort(falling, kind="stable")
    among = np.flatnonzero(falling <= np.partition(falling, most)[most])
    return among[np.argsort(falling[among], kind="stable")]


def in_order(scores: Scores, likely: int) -> Iterator[int]:
    """The places of the scores, best first, of which a caller will hardly take more than `likely`."""
    head = best_first(scores, likely)
    yield from head.tolist()
    yield from best_first(scores)[len(head) :].tolist()
