"""Scores as rows: what one model has on one set, means over sets, tables of them, and the results file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from codequarry.benchmarks.models import BenchmarkModel, place_of
from codequarry.benchmarks.quantization import CALIBRATED_ON, RANGES_FILE
from codequarry.benchmarks.significance import (
    BOOTSTRAP_ROUNDS,
    SEED,
    Comparison,
    Scores,
    compare,
    interval,
    mean_of,
)
from codequarry.common.environment import origin
from codequarry.common.errors import UserError
from codequarry.common.files import write_json
from codequarry.common.tables import text_table


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
    costs: of each contender, as plain data (`cost.Cost.record`); [] where they were not measured.
    """

    rows: list[Row] = field(default_factory=list)
    variants: dict[str, list[Row]] = field(default_factory=dict)
    languages: list[dict[str, Any]] = field(default_factory=list)
    speeds: dict[str, dict[str, Any]] = field(default_factory=dict)
    costs: list[dict[str, Any]] = field(default_factory=list)


MEAN = "mean"
BM25, PLAIN = "BM25", "BM25, plain words"  # rows of no model
FUSED = " + BM25"  # what the name of a model's fusion with BM25 ends with

_RECORDED = (
    "model", "variant", "set", "task", "dataset", "dataset_revision", "in_mean", "queries", "documents",
    "ndcg_at_10", "low", "high", "mrr_at_10", "recall_at_1",
)  # fmt: skip
_PACKAGES = ("mteb", "bm25s", "numpy")


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
    """The rows as text, one line per model and set, scores in percent."""
    lines = [["model", "task", "queries", "nDCG@10", "MRR@10", "recall@1"]]
    for row in rows:
        scores = (f"{100 * score:.1f}" for score in (row.ndcg_at_10, row.mrr_at_10, row.recall_at_1))
        lines.append([row.name, row.set or row.task, str(row.queries), *scores])
    return text_table(lines, right=range(2, 6), widths=(0, 15, 7, 7, 7, 8), rule=True)


def score_table(rows: Sequence[Row]) -> str:
    """nDCG@10 in percent with half the width of its 95% interval, one line per set, one column per model."""
    names = list(dict.fromkeys(row.name for row in rows))
    sets = list(dict.fromkeys(row.set for row in rows if row.set != MEAN))
    sets += [MEAN] * any(row.set == MEAN for row in rows)
    cell = {(row.set, row.name): row for row in rows}
    saturated = {row.set for row in rows if not row.in_mean}
    lines = [["nDCG@10", "queries", *names]]
    for name in sets:
        queries = next(row.queries for row in rows if row.set == name)
        scores = (_shown(cell.get((name, column))) for column in names)
        lines.append([f"{name}*" if name in saturated else name, str(queries), *scores])
    left = max(len(name) for name in (*sets, "nDCG@10")) + 1
    text = text_table(lines, right=range(1, len(lines[0])), widths=(left, 7, *[11] * len(names)), rule=True)
    return f"{text}\n* saturated: a sanity check, left out of the mean" if saturated else text


def language_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """`Measured.languages` as text: nDCG@10 in percent, one line per set and language."""
    names = list(dict.fromkeys(line["model"] for line in lines))
    score = {(line["set"], line["language"], line["model"]): f"{100 * line['ndcg@10']:.1f}" for line in lines}
    rows = [["set", "language", "queries", *names]]
    for line in lines:
        if line["model"] == names[0]:
            of = line["set"], line["language"]
            rows.append([*of, str(line["queries"]), *(score[*of, name] for name in names)])
    return text_table(rows, right=range(2, len(rows[0])), widths=(20, 12, 7, *[0] * len(names)), rule=True)


def _shown(row: Row | None) -> str:
    if row is None:
        return "-"
    interval = "" if row.low is None or row.high is None else f" ±{50 * (row.high - row.low):.1f}"
    return f"{100 * row.ndcg_at_10:.1f}{interval}"


def comparisons_of(rows: Sequence[Row], first: str, second: str) -> list[Comparison]:
    """Two models, by their rows' names, compared on each set, and on the mean of those that count.

    Raises UserError for a name that no row has.
    """
    own = [[row for row in rows if row.name == name and row.set != MEAN] for name in (first, second)]
    for name, found in zip((first, second), own, strict=True):
        if not found:
            raise UserError(
                f"{name!r} was not scored: compare two of {', '.join(dict.fromkeys(r.name for r in rows))}."
            )
    compared = [
        compare(first, second, a.set, scores_of([a]), scores_of([b])) for a, b in zip(*own, strict=True)
    ]
    a, b = (scores_of([row for row in found if row.in_mean]) for found in own)
    return [*compared, compare(first, second, MEAN, a, b)] if len(a) > 1 else compared


def write_results(
    path: Path, rows: Sequence[Row], *, benchmark: str, command: str, more: Mapping[str, Any] | None = None
) -> None:
    """Write rows with the command, machine and versions that made them, whole or not at all.

    benchmark, command: what was scored and how, as a reader would repeat it. more: further sections.
    """
    record: dict[str, Any] = {
        "benchmark": benchmark,
        **origin(command),
        "rows": [row.record() for row in rows],
        **(more or {}),
    }
    record["versions"] |= {name: version(name) for name in _PACKAGES}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def write_summary(
    path: Path,
    model: BenchmarkModel,
    measured: Measured,
    *,
    benchmark: str,
    command: str,
    comparisons: Sequence[Comparison] = (),
) -> None:
    """Write one model's summary; `rows` holds those of the whole run, the model's own among them."""
    write_results(
        path,
        measured.rows,
        benchmark=benchmark,
        command=command,
        more={
            "model": model.label,
            "revision": place_of(model).revision,
            "interval": f"95% percentile bootstrap over queries, {BOOTSTRAP_ROUNDS} rounds, seed {SEED}",
            "speed": measured.speeds[model.label],
            **({"costs": measured.costs} if measured.costs else {}),
            **sections(model.label, measured),
            "comparisons": [
                {name: _rounded(value) for name, value in asdict(row).items()} for row in comparisons
            ],
        },
    )


def sections(label: str, measured: Measured) -> dict[str, Any]:
    """A model's dimensions, precisions, prompts and languages, as plain data; [] for what was not asked."""
    found: dict[str, Any] = {
        name: [row.record() for row in measured.variants.get(name, ()) if row.model == label]
        for name in ("dims", "precisions", "prompts")
    }
    if any(row["variant"] == "int8" for row in found["precisions"]):
        found["int8"] = {"ranges": RANGES_FILE, "calibrated_on": CALIBRATED_ON}
    return found | {"languages": [line for line in measured.languages if line["model"] == label]}


def summary_name(label: str, sample: int | None = None) -> str:
    """The file name of a model's summary, on whole sets or on a sample of so many queries.

    >>> summary_name("runs/mini")
    'runs__mini.json'
    >>> summary_name("mini", 300)
    'mini__sample300.json'
    """
    name = label.strip("/.").replace("/", "__").replace(" ", "_")
    return f"{name}.json" if sample is None else f"{name}__sample{sample}.json"


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
