"""The cascade of `codequarry search` as a contender: pico and BM25 choose, a model ranks what they chose."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from codequarry.benchmarks.bm25 import places_among
from codequarry.benchmarks.models import BenchmarkModel, Place, place_of
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.inference.vector_cache import StoredVectors
from codequarry.search.first_stage import FirstStage, best_first
from codequarry.search.fusion import WEIGHTS, fuse
from codequarry.search.index import Features
from codequarry.search.lexical import bag
from codequarry.search.rerank import CANDIDATES

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

CASCADE = "cascade "  # in front of a model's label
SECOND_STAGE = "pico + BM25, weighted"


class CascadeSearch:
    """The stages of a search, as MTEB's search protocol.

    Arguments:
        first: the static model of the first stage.
        task: one of our five; it decides prompts and weights.
        model, vectors: what ranks the candidates; None ends after the second stage.
        candidates: how many documents of each query the model ranks. The others follow in their order.

    seconds: by what it was spent on: `index` for documents, `rank` for queries, the model's part not counted.
    """

    def __init__(
        self,
        first: StaticEncoder,
        task: str,
        model: BenchmarkModel | None = None,
        vectors: StoredVectors | None = None,
        *,
        candidates: int = CANDIDATES,
    ) -> None:
        self._first, self._task, self._model, self._vectors = first, task, model, vectors
        self._candidates = candidates
        self._ids: list[str] = []
        self._texts: list[str] = []
        self.seconds: dict[str, float] = {"index": 0.0, "rank": 0.0}

    def index(self, corpus: Iterable[Mapping[str, str]], **_: Any) -> None:
        """Take in the documents, mappings of `id`, `text` and perhaps `title`."""
        rows = [(row["id"], f"{row.get('title') or ''} {row['text']}".strip()) for row in corpus]
        self._ids, self._texts = [name for name, _ in rows], [text for _, text in rows]
        started = time.perf_counter()
        ids = self._first.token_ids(self._texts)
        vectors = self._first.vectors_of_ids(ids, self._first.space(self._task))
        places = tuple(range(len(rows)))
        features = Features(places, (b"",) * len(rows), vectors, tuple(bag(one) for one in ids))
        self._stage = FirstStage(features, self._first)
        self.seconds["index"] += time.perf_counter() - started

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
            started = time.perf_counter()
            scores_C = self._stage.scores(query["text"], self._task)
            self.seconds["rank"] += time.perf_counter() - started
            among = places_among(place, query["id"], top_ranked)
            order = among[best_first(scores_C[among])]
            ranked = self._by_model(query["text"], scores_C, order)
            found[query["id"]] = {self._ids[row]: score for row, score in ranked[:top_k]}
        return found

    def _by_model(self, query: str, scores_C: Any, order: Any) -> list[tuple[int, float]]:
        """Places with falling scores; those of documents that the model did not see are below the others."""
        if self._model is None or self._vectors is None:
            return [(int(row), float(scores_C[row])) for row in order]
        chosen = np.sort(order[: self._candidates])
        prompts = [self._model.prompt(self._task, side) for side in ("query", "document")]
        query_D = self._vectors.embed([query], prompts[0])[0]
        similarity = self._vectors.embed([self._texts[row] for row in chosen], prompts[1]) @ query_D
        fused = fuse(similarity, scores_C[chosen], WEIGHTS[self._task].second)
        ranked = [(int(chosen[row]), float(fused[row])) for row in best_first(fused)]
        below = min((score for _, score in ranked), default=0.0)
        rest = enumerate(order[self._candidates :], start=1)
        return [*ranked, *((int(row), below - number) for number, row in rest)]

    @property
    def place(self) -> Place:
        """Where MTEB files the results."""
        if self._model is None:
            return Place("codequarry/pico+bm25-weighted", self._first.fingerprint[:12])
        own = place_of(self._model)
        return Place(f"{own.name}-cascade", own.revision)

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name and revision, so that MTEB keeps the results under them."""
        from mteb.models.model_meta import ModelMeta

        return ModelMeta.create_empty({"name": self.place.name, "revision": self.place.revision})
