"""Scores as rows: what one model has on one set, means over sets, and tables of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codequarry.benchmarks.bootstrap import Scores, interval, mean_of
from codequarry.data.eval_set import EvalSet
from codequarry.data.pair import Pair
from codequarry.modules.tasks import TASKS


@dataclass(frozen=True)
class Row:
    """One model on one set; scores between 0 and 1.

    task: one of the five; `mean` for the unweighted mean over sets.
    set: the set's name; `mean` as above; "" in files written before sets had names.
    variant: what was changed about the model: dimensions, precision or prompts; "" for nothing.
    low, high: the 95% bootstrap interval of nDCG@10 over queries; None where it was not measured.
    in_mean: False for a saturated set, which means leave out.
    dataset, dataset_revision: the set's name and commit on the Hub; None where it has no page there.
    by_query: nDCG@10 of each query id, by part of the set (MTEB's subsets; `default` where there is one).
    """

    model: str
    task: str
    queries: int
    documents: int
    ndcg_at_10: float
    mrr_at_10: float
    recall_at_1: float
    set: str = ""
    low: float | None = None
    high: float | None = None
    variant: str = ""
    in_mean: bool = True
    dataset: str | None = None
    dataset_revision: str | None = None
    by_query: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False, compare=False)

    def record(self) -> dict[str, Any]:
        """As results files spell it: `ndcg@10` for `ndcg_at_10`, nothing that is not known.

        A mean does not say whether it counts in itself.
        """
        found = {name.replace("_at_", "@"): getattr(self, name) for name in _RECORDED}
        if self.set == MEAN:
            del found["in_mean"]
        return {name: value for name, value in found.items() if value not in (None, "")}

    @property
    def name(self) -> str:
        """Model and variant, as tables head a column."""
        return f"{self.model}, {self.variant}" if self.variant else self.model


@dataclass
class Measured:
    """What a run found.

    rows: BM25, models and fusions on every set, a model's mean after its sets.
    variants: the same by section (`dims`, `precisions`, `prompts`) for what was changed.
    languages: nDCG@10 by model, set and language, where the sets say.
    speeds: by model label, as plain data.
    """

    rows: list[Row] = field(default_factory=list)
    variants: dict[str, list[Row]] = field(default_factory=dict)
    languages: list[dict[str, Any]] = field(default_factory=list)
    speeds: dict[str, dict[str, Any]] = field(default_factory=dict)


MEAN = "mean"

_RECORDED = (
    "model",
    "variant",
    "set",
    "task",
    "dataset",
    "dataset_revision",
    "in_mean",
    "queries",
    "documents",
    "ndcg_at_10",
    "low",
    "high",
    "mrr_at_10",
    "recall_at_1",
)


def pair_sets(pairs: Iterable[Pair]) -> list[EvalSet]:
    """One set a task, in the order of the tasks: its distinct queries against its distinct documents.

    Every document that a query is paired with is right. A query has the language of its first pair.

    Raises ValueError where there is no pair.
    """
    queries: dict[str, dict[str, str]] = {}  # by task: text to id
    documents: dict[str, dict[str, str]] = {}
    relevant: dict[str, dict[str, dict[str, int]]] = {}
    languages: dict[str, dict[str, str]] = {}
    for pair in pairs:
        asked, held = queries.setdefault(pair.task, {}), documents.setdefault(pair.task, {})
        query = asked.setdefault(pair.query, f"q{len(asked)}")
        document = held.setdefault(pair.document, f"d{len(held)}")
        relevant.setdefault(pair.task, {}).setdefault(query, {})[document] = 1
        languages.setdefault(pair.task, {}).setdefault(query, pair.language)
    if not queries:
        raise ValueError("there is no pair to score: pass a file or folder of pairs that is not empty.")
    return [
        EvalSet(
            task,
            task,
            {name: text for text, name in queries[task].items()},
            {name: text for text, name in documents[task].items()},
            relevant[task],
            languages[task],
        )
        for task in TASKS
        if task in queries
    ]


def scores_of(rows: Sequence[Row]) -> Scores:
    """The per-query scores of one model's rows, as intervals and comparisons take them."""
    return [[np.array(list(part.values())) for part in row.by_query.values()] for row in rows]


def with_means(rows: Sequence[Row]) -> list[Row]:
    """The rows with each model's mean after them, where it has two sets or more that count."""
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_model.setdefault(row.name, []).append(row)
    found = []
    for own in by_model.values():
        found += own
        counted = [row for row in own if row.in_mean]
        if len(counted) > 1:
            found.append(_mean(counted))
    return found


def _mean(rows: Sequence[Row]) -> Row:
    scores = scores_of(rows)
    low, high = interval(scores)
    return Row(
        model=rows[0].model,
        task=MEAN,
        queries=sum(row.queries for row in rows),
        documents=sum(row.documents for row in rows),
        ndcg_at_10=round(mean_of(scores), 4),
        mrr_at_10=round(sum(row.mrr_at_10 for row in rows) / len(rows), 4),
        recall_at_1=round(sum(row.recall_at_1 for row in rows) / len(rows), 4),
        set=MEAN,
        low=round(low, 4),
        high=round(high, 4),
        variant=rows[0].variant,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one line a model and set, scores in percent."""
    width = max(len(row.name) for row in rows)
    head = f"{'model':<{width}}  {'task':<15}  {'queries':>7}  {'nDCG@10':>7}  {'MRR@10':>7}  {'recall@1':>8}"
    lines = [
        f"{row.name:<{width}}  {row.set or row.task:<15}  {row.queries:>7}  {100 * row.ndcg_at_10:>7.1f}  "
        f"{100 * row.mrr_at_10:>7.1f}  {100 * row.recall_at_1:>8.1f}"
        for row in rows
    ]
    return "\n".join([head, "-" * len(head), *lines])


def score_table(rows: Sequence[Row]) -> str:
    """nDCG@10 in percent, a line a set and a column a model, half the width of the 95% interval behind it."""
    names = list(dict.fromkeys(row.name for row in rows))
    sets = list(dict.fromkeys(row.set for row in rows if row.set != MEAN))
    sets += [MEAN] * any(row.set == MEAN for row in rows)
    cell = {(row.set, row.name): row for row in rows}
    saturated = {row.set for row in rows if not row.in_mean}
    left = max(len(name) for name in (*sets, "nDCG@10")) + 1
    head = f"{'nDCG@10':<{left}}  {'queries':>7}  " + "  ".join(f"{name:>11}" for name in names)
    lines = [head, "-" * len(head)]
    for name in sets:
        queries = next(row.queries for row in rows if row.set == name)
        mark = f"{name}*" if name in saturated else name
        cells = (f"{_shown(cell.get((name, column))):>{max(11, len(column))}}" for column in names)
        lines.append(f"{mark:<{left}}  {queries:>7}  " + "  ".join(cells))
    if saturated:
        lines.append("* saturated: a sanity check, left out of the mean")
    return "\n".join(lines)


def _shown(row: Row | None) -> str:
    if row is None:
        return "-"
    if row.low is None or row.high is None:
        return f"{100 * row.ndcg_at_10:.1f}"
    return f"{100 * row.ndcg_at_10:.1f} ±{50 * (row.high - row.low):.1f}"
