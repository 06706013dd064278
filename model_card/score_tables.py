"""The scores of a results file as the tables of a card."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any

from codequarry.model_card.card import NOT_MEASURED
from codequarry.model_card.in_words import Table, counted, measured, scored

Row = Mapping[str, Any]  # of a results file, as in Card
Results = Mapping[str, Any] | None

WRONG_PROMPTS = ("no prompt", "sides swapped", "task swapped")  # variants of the section `prompts`
RUNTIMES = ("sentence-transformers", "transformers", "onnxruntime", "openvino", "llama-cpp-python")

_MEAN = "mean"
_VALIDATION = re.compile(r"(\w+?)(?:_(\d+))?_ndcg@10")  # task, numbers a vector


def own_rows(results: Results) -> list[Row]:
    """The rows of the model that the file is about; [] where the file does not say which it is."""
    found = results or {}
    return [row for row in found.get("rows") or () if row.get("model") == found.get("model", "")]


def other_models(results: Results) -> list[str]:
    """The models that this one is compared with, BM25 among them, as they come in the file."""
    found = results or {}
    named = dict.fromkeys(measured(row.get("model")) for row in found.get("rows") or ())
    return [name for name in named if name != found.get("model")]


def leaves_out(results: Results) -> bool:
    """Whether the means leave a set out."""
    return any(row.get("in_mean") is False for row in (results or {}).get("rows") or ())


def by_model(results: Results) -> Table:
    """nDCG@10, a line a set and a column a model, this model first; the best of a line in bold."""
    rows: list[Row] = list((results or {}).get("rows") or ())
    mine = own_rows(results)
    return _set_by_column(
        [*mine, *(row for row in rows if row not in mine)], lambda row: measured(row.get("model")), bold=True
    )


def by_variant(results: Results, section: str, plain: str = "") -> Table:
    """nDCG@10, a line a set and a column a variant of the section `dims`, `precisions` or `prompts`.

    plain: the head of a first column with the scores of the model as it is; "" for no such column.
    """
    rows: list[Row] = list((results or {}).get(section) or ())
    if not rows:
        return []
    before = [{**row, "variant": plain} for row in own_rows(results)] if plain else []
    return _set_by_column([*before, *rows], lambda row: measured(row.get("variant")))


def prompts_left_out(results: Results) -> list[str]:
    """Those of `WRONG_PROMPTS` that were not scored."""
    scored_with = {row.get("variant") for row in (results or {}).get("prompts") or ()}
    return [change for change in WRONG_PROMPTS if change not in scored_with]


def every_score(results: Results) -> Table:
    """Every row of the file with all that was measured."""
    rows = [
        [measured(row.get("model")), _set(row)]
        + [_task(row), counted(row.get("queries")), counted(row.get("documents"))]
        + [scored(row.get(metric)) for metric in ("ndcg@10", "mrr@10", "recall@1")]
        + [_interval(row)]
        for row in (results or {}).get("rows") or ()
    ]
    head = ["model", "set", "task", "queries", "documents", "nDCG@10", "MRR@10", "recall@1", "interval"]
    return [head, *rows] if rows else []


def by_language(results: Results) -> Table:
    """nDCG@10 by the programming language of a set's texts."""
    rows = sorted(
        (results or {}).get("languages") or (), key=lambda row: (row.get("language", ""), row.get("set", ""))
    )
    lines = [
        [measured(row.get("language")), _set(row), counted(row.get("queries")), scored(row.get("ndcg@10"))]
        for row in rows
    ]
    return [["language", "set", "queries", "nDCG@10"], *lines] if lines else []


def by_runtime(verification: Mapping[str, Any] | None) -> Table:
    """Each runtime that was compared with the golden vectors, and how far it was from them at worst."""
    rows = [
        [
            f"{measured(row.get('runtime'))} {row.get('version') or ''}".strip(),
            measured(row.get("precision")),
            _shown(row.get("worst_cosine"), ".7f"),
            _shown(row.get("worst_absolute_difference"), ".1e"),
            {True: "yes", False: "**no**"}.get(row.get("ok"), NOT_MEASURED),
        ]
        for row in (verification or {}).get("rows") or ()
    ]
    head = ["runtime", "precision", "worst cosine", "worst difference of a number", "within tolerance"]
    return [head, *rows] if rows else []


def runtimes_left_out(verification: Mapping[str, Any] | None) -> list[str]:
    """Those of `RUNTIMES` that were not compared with the golden vectors."""
    compared = {row.get("runtime") for row in (verification or {}).get("rows") or ()}
    return [runtime for runtime in RUNTIMES if runtime not in compared]


def by_validation(scores: Mapping[str, float]) -> Table:
    """Scores on held-out pairs: a line a task, and a column a number of dimensions."""
    found = {name: match for name in scores if (match := _VALIDATION.fullmatch(name))}
    sizes = list(dict.fromkeys(match[2] for match in found.values()))
    tasks = list(dict.fromkeys(match[1] for match in found.values()))
    value = {(match[1], match[2]): scores[name] for name, match in found.items()}
    head = ["task", *(f"{size} dims" if size else "whole vectors" for size in sizes)]
    rows = [[task, *(scored(value.get((task, size))) for size in sizes)] for task in tasks]
    return [head, *rows] if rows else []


def _set_by_column(rows: Sequence[Row], column: Callable[[Row], str], bold: bool = False) -> Table:
    if not rows:
        return []
    columns = list(dict.fromkeys(map(column, rows)))
    sets: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        sets.setdefault((_set(row), _task(row)), {})[column(row)] = row
    table = [["set", "task", "queries", *columns]]
    # The mean last, the others as they came.
    for (name, task), found in sorted(sets.items(), key=lambda one: one[0][0] == _MEAN):
        values = [found[one].get("ndcg@10") if one in found else None for one in columns]
        best = max((value for value in values if value is not None), default=None)
        cells = [
            f"**{scored(value)}**" if bold and value is not None and value == best else scored(value)
            for value in values
        ]
        mark = "\\*" if any(row.get("in_mean") is False for row in found.values()) else ""
        queries = next(row.get("queries") for row in found.values())
        table.append([f"{name}{mark}", task, counted(queries), *cells])
    return table


def _set(row: Row) -> str:
    return row.get("set") or measured(row.get("task"))


def _task(row: Row) -> str:
    return "all" if row.get("task") == _MEAN else measured(row.get("task"))


def _interval(row: Row) -> str:
    low, high = row.get("low"), row.get("high")
    return NOT_MEASURED if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _shown(value: float | None, form: str) -> str:
    # A runtime that failed before it was compared is as far as nan says.
    return NOT_MEASURED if value is None or isnan(value) else format(value, form)
