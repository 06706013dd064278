"""What an answer costs: milliseconds of the processor for each document that is indexed, and for each query.

Seconds of the processor, not of the clock, so that other programs on the machine count little. Vectors are
computed, not read from a cache. A model that embeds every document is timed on those that the first stage
chooses, and a query of a cascade is one whose candidates no query before has had embedded.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codequarry.benchmarks.bm25 import BM25Search
from codequarry.benchmarks.cascade import CASCADE, SECOND_STAGE
from codequarry.benchmarks.models import BenchmarkModel
from codequarry.benchmarks.results import BM25
from codequarry.common.tables import text_table
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.inference.vector_cache import StoredVectors
from codequarry.search.first_stage import FirstStage, best_first
from codequarry.search.index import Features
from codequarry.search.lexical import bag
from codequarry.search.rerank import CANDIDATES

QUERIES = 5  # of each set that are asked: a strong model embeds 64 documents for each
BEST = 10  # documents that are looked for


@dataclass(frozen=True)
class Cost:
    """Seconds of the processor that a contender took, on one set or on several.

    model: the name of its rows.
    """

    model: str
    documents: int
    index_seconds: float
    queries: int
    query_seconds: float

    def record(self) -> dict[str, Any]:
        """As results files spell it."""
        return {
            "model": self.model,
            "documents": self.documents,
            "document_ms": round(1000 * self.index_seconds / self.documents, 4),
            "queries": self.queries,
            "query_ms": round(1000 * self.query_seconds / self.queries, 3),
        }


def costs_on(
    documents: Sequence[str],
    queries: Sequence[str],
    task: str,
    first: StaticEncoder,
    models: Sequence[BenchmarkModel],
    stored: Mapping[str, StoredVectors],
) -> list[Cost]:
    """The costs of BM25, of both stages of a search, and of each model without and with them, on one set.

    Arguments:
        documents, queries: the set's texts; the first `QUERIES` queries are asked.
        task: one of our five.
        first: the static model of the first stage. Of `models`, the same one is timed as search runs it.
        stored: of each model by its label.
    """
    asked = queries[:QUERIES]
    count, times = len(documents), len(asked)
    words = BM25Search()
    rows = [{"id": str(place), "text": text} for place, text in enumerate(documents)]
    started = time.process_time()
    words.index(rows)
    middle = time.process_time()
    words.search([{"id": text, "text": text} for text in asked], top_k=BEST)
    costs = [Cost(BM25, count, middle - started, times, time.process_time() - middle)]

    started = time.process_time()
    ids = first.token_ids(documents)
    vectors = first.vectors_of_ids(ids, first.space(task))
    dense_index = time.process_time() - started
    bags = tuple(bag(one) for one in ids)
    stage = FirstStage(Features(tuple(range(count)), (b"",) * count, vectors, bags), first)
    both_index = time.process_time() - started
    started = time.process_time()
    for query in asked:
        best_first(vectors @ first.encode_query(query, task), BEST)
    middle = time.process_time()
    orders = [best_first(stage.scores(query, task)) for query in asked]
    dense_query, both_query = middle - started, time.process_time() - middle
    costs.append(Cost(SECOND_STAGE, count, both_index, times, both_query))

    for model in models:
        if model.fingerprint == first.fingerprint:
            costs.append(Cost(model.label, count, dense_index, times, dense_query))
            continue
        candidates = [[documents[place] for place in order[:CANDIDATES]] for order in orders]
        embedded, chosen, ranked = _strong(model, stored[model.label], task, asked, candidates, count)
        number = sum(map(len, candidates))
        costs += [
            Cost(model.label, number, chosen, times, embedded + ranked),
            Cost(f"{CASCADE}{model.label}", count, both_index, times, both_query + embedded + chosen),
        ]
    return costs


def _strong(
    model: BenchmarkModel,
    vectors: StoredVectors,
    task: str,
    queries: Sequence[str],
    candidates: Sequence[Sequence[str]],
    documents: int,
) -> tuple[float, float, float]:
    """Seconds for the queries, for their candidates, and for the products of queries and all documents."""
    before = [model.prompt(task, side) for side in ("query", "document")]
    vectors.computed(["x"], before[0])  # the first call prepares the weights
    every = np.zeros((documents, model.dims), dtype=np.float32)
    embedded = chosen = ranked = 0.0
    for query, texts in zip(queries, candidates, strict=True):
        times = [time.process_time()]
        vectors.computed([query], before[0])
        times.append(time.process_time())
        vectors.computed(texts, before[1])
        times.append(time.process_time())
        best_first(every @ every[0], BEST)
        times.append(time.process_time())
        embedded += times[1] - times[0]
        chosen += times[2] - times[1]
        ranked += times[3] - times[2]
    return embedded, chosen, ranked


def together(costs: Sequence[Cost]) -> list[Cost]:
    """The costs of each contender over all sets, as if these were one."""
    return [
        Cost(
            name,
            sum(one.documents for one in own),
            sum(one.index_seconds for one in own),
            sum(one.queries for one in own),
            sum(one.query_seconds for one in own),
        )
        for name in dict.fromkeys(one.model for one in costs)
        if (own := [one for one in costs if one.model == name])
    ]


def cost_table(rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> str:
    """Records of costs as text. Arguments: `means`, nDCG@10 by contender, of those that have a mean."""
    lines = [["contender", "nDCG@10", "ms per document", "ms per query"]]
    for row in rows:
        mean = means.get(row["model"])
        score = "-" if mean is None else f"{100 * mean:.1f}"
        lines.append([row["model"], score, f"{row['document_ms']:.2f}", f"{row['query_ms']:.1f}"])
    return text_table(lines, right=range(1, 4), widths=(24, 7, 15, 12), rule=True)
