"""Reciprocal-rank fusion: two rankings made into one without comparing their scores."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

K = 60  # of the paper; it is not tuned here
DEPTH = 100  # documents of each ranking that take part

Ranking = Mapping[str, float]  # document id to score


def fuse(rankings: Sequence[Ranking]) -> dict[str, float]:
    """Each document's `sum of 1 / (60 + rank)` over the rankings that hold it (Cormack et al., SIGIR 2009).

    Ranks count from 1. Documents of equal score are ranked by falling id, as MTEB's scoring does.

    >>> fuse([{"a": 9.0, "b": 8.0}, {"b": 0.7}])["b"] == 1 / 62 + 1 / 61
    True
    """
    fused: dict[str, float] = {}
    for ranking in rankings:
        ordered = sorted(ranking, key=lambda name: (ranking[name], name), reverse=True)
        for rank, name in enumerate(ordered[:DEPTH], 1):
            fused[name] = fused.get(name, 0.0) + 1 / (K + rank)
    return fused


class FusedSearch:
    """The fusion of rankings that were found before, as MTEB's search protocol.

    Arguments: `found` holds, for each searcher, part of the set → query id → its ranking; `name` and
    `revision` are what MTEB files the results under.
    """

    def __init__(
        self, found: Sequence[Mapping[str, Mapping[str, Ranking]]], name: str, revision: str
    ) -> None:
        self._found = found
        self._name = name
        self._revision = revision

    def index(self, corpus: Any, **_: Any) -> None:
        """Nothing: the rankings are there."""

    def search(
        self, queries: Iterable[Mapping[str, str]], *, top_k: int, hf_subset: str = "default", **_: Any
    ) -> dict[str, dict[str, float]]:
        """For each query id the best `top_k` of the fused ranking."""
        answers = {}
        for query in queries:
            fused = fuse([found[hf_subset][query["id"]] for found in self._found])
            best = sorted(fused, key=lambda name: (fused[name], name), reverse=True)[:top_k]
            answers[query["id"]] = {name: fused[name] for name in best}
        return answers

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name and revision, so that MTEB keeps the results under them."""
        from mteb.models.model_meta import ModelMeta

        return ModelMeta.create_empty({"name": self._name, "revision": self._revision})
