"""How well does a model find the right document? nDCG@10, MRR@10 and recall@1, beside BM25 in the same run.

    codequarry benchmark runs/mini --pairs pairs/heldout --out results.json

Each task of the pairs is scored by itself: its distinct queries against its distinct documents, where every
document that a query is paired with is right.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from codequarry.benchmarks.bm25 import bm25_rankings
from codequarry.data.pair import Pair
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.machine import describe_machine, fast_autocast, package_versions
from codequarry.modules.tasks import TASKS, prompt_name
from codequarry.modules.whole_files import write_json

_TOP = 10


@dataclass(frozen=True)
class Row:
    """One model on one task; scores between 0 and 1. `task` is `mean` for the unweighted mean over tasks."""

    model: str
    task: str
    queries: int
    documents: int
    ndcg_at_10: float
    mrr_at_10: float
    recall_at_1: float

    def record(self) -> dict[str, Any]:
        """As results files spell it: `ndcg@10` for `ndcg_at_10`."""
        return {name.replace("_at_", "@"): value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class RetrievalSet:
    """One task's queries, documents and right answers, each by an id."""

    task: str
    queries: dict[str, str]
    documents: dict[str, str]
    right: dict[str, set[str]]


def retrieval_sets(pairs: Iterable[Pair]) -> list[RetrievalSet]:
    """One set a task, in the order of the tasks; equal texts are one query or one document."""
    by_task: dict[str, RetrievalSet] = {}
    names: dict[tuple[str, str, str], str] = {}
    for pair in pairs:
        found = by_task.setdefault(pair.task, RetrievalSet(pair.task, {}, {}, {}))
        query = names.setdefault((pair.task, "query", pair.query), f"q{len(found.queries)}")
        document = names.setdefault((pair.task, "document", pair.document), f"d{len(found.documents)}")
        found.queries[query] = pair.query
        found.documents[document] = pair.document
        found.right.setdefault(query, set()).add(document)
    return [by_task[task] for task in TASKS if task in by_task]


def score_bm25(sets: Sequence[RetrievalSet]) -> list[Row]:
    """BM25's rows, the mean last."""
    rows = []
    for retrieval in sets:
        documents = list(retrieval.documents)
        rankings = bm25_rankings(
            list(retrieval.queries.values()), list(retrieval.documents.values()), top=_TOP
        )
        ranked = [
            [{"corpus_id": documents[position], "score": score} for position, score in ranking]
            for ranking in rankings
        ]
        rows.append(_row("BM25", retrieval, _evaluator(retrieval, prompted=True).compute_metrics(ranked)))
    return _with_mean(rows)


def score_model(
    name: str, model: CodeEmbedder, sets: Sequence[RetrievalSet], *, prompted: bool = True
) -> list[Row]:
    """A model's rows under the label `name`, the mean last; `prompted=False` leaves the prefixes out."""
    rows = []
    with fast_autocast(model.device.type):
        for retrieval in sets:
            evaluator = _evaluator(retrieval, prompted=prompted)
            rows.append(_row(name, retrieval, evaluator.compute_metrices(model)["cosine"]))
    return _with_mean(rows)


def write_results(path: Path, rows: Sequence[Row], *, benchmark: str, command: str) -> None:
    """Write rows with the command, machine and versions that made them: what the card and README read."""
    record = {
        "benchmark": benchmark,
        "command": command,
        "date": date.today().isoformat(),
        "hardware": describe_machine(),
        "versions": package_versions(),
        "rows": [row.record() for row in rows],
    }
    write_json(path, record)


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one line a model and task, scores in percent."""
    width = max(len(row.model) for row in rows)
    head = f"{'model':<{width}}  {'task':<15}  {'queries':>7}  {'nDCG@10':>7}  {'MRR@10':>7}  {'recall@1':>8}"
    lines = [
        f"{row.model:<{width}}  {row.task:<15}  {row.queries:>7}  {100 * row.ndcg_at_10:>7.1f}  "
        f"{100 * row.mrr_at_10:>7.1f}  {100 * row.recall_at_1:>8.1f}"
        for row in rows
    ]
    return "\n".join([head, "-" * len(head), *lines])


def _evaluator(retrieval: RetrievalSet, *, prompted: bool) -> Any:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    return InformationRetrievalEvaluator(
        dict(retrieval.queries),
        dict(retrieval.documents),
        retrieval.right,
        mrr_at_k=[_TOP],
        ndcg_at_k=[_TOP],
        accuracy_at_k=[1],
        precision_recall_at_k=[1],
        map_at_k=[_TOP],
        show_progress_bar=True,
        write_csv=False,
        score_functions={"cosine": cos_sim},
        query_prompt_name=prompt_name(retrieval.task, "query") if prompted else None,
        corpus_prompt_name=prompt_name(retrieval.task, "document") if prompted else None,
        query_prompt=None if prompted else "",
        corpus_prompt=None if prompted else "",
    )


def _row(model: str, retrieval: RetrievalSet, metrics: dict[str, dict[int, float]]) -> Row:
    return Row(
        model=model,
        task=retrieval.task,
        queries=len(retrieval.queries),
        documents=len(retrieval.documents),
        ndcg_at_10=round(float(metrics["ndcg@k"][_TOP]), 4),
        mrr_at_10=round(float(metrics["mrr@k"][_TOP]), 4),
        recall_at_1=round(float(metrics["recall@k"][1]), 4),
    )


def _with_mean(rows: list[Row]) -> list[Row]:
    if not rows:
        raise ValueError("there is no pair to score: pass a file or folder of pairs that is not empty.")
    count = len(rows)
    mean = replace(
        rows[0],
        task="mean",
        queries=sum(row.queries for row in rows),
        documents=sum(row.documents for row in rows),
        ndcg_at_10=round(sum(row.ndcg_at_10 for row in rows) / count, 4),
        mrr_at_10=round(sum(row.mrr_at_10 for row in rows) / count, 4),
        recall_at_1=round(sum(row.recall_at_1 for row in rows) / count, 4),
    )
    return [*rows, mean]
