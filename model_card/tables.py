"""The tables of a card and the words in them: scores, runtimes, training data, decontamination."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any

from codequarry.model_card.card import NOT_MEASURED

Row = Mapping[str, Any]  # of a results file, as in Card
Results = Mapping[str, Any] | None
WRONG_PROMPTS = ("no prompt", "sides swapped", "task swapped")  # variants of the section `prompts`
RUNTIMES = ("sentence-transformers", "transformers", "onnxruntime", "openvino", "llama-cpp-python")
_MEAN = "mean"
_VALIDATION = re.compile(r"(\w+?)(?:_(\d+))?_ndcg@10")  # task, dimensions


Table = list[list[str]]  # the heads, then a row per line; [] where there is nothing to show


def _rows(results: Results, section: str = "rows") -> list[Row]:
    return list((results or {}).get(section) or ())


def own_rows(results: Results) -> list[Row]:
    """The rows of the model that the file is about; [] where the file does not name it."""
    return [row for row in _rows(results) if row.get("model") == (results or {}).get("model", "")]


def other_models(results: Results) -> list[str]:
    """The models that this one is compared with, BM25 among them, in the order of the file."""
    named = dict.fromkeys(measured(row.get("model")) for row in _rows(results))
    return [name for name in named if name != (results or {}).get("model")]


def leaves_out(results: Results) -> bool:
    """Whether the means leave a set out."""
    return any(row.get("in_mean") is False for row in _rows(results))


def by_model(results: Results) -> Table:
    """nDCG@10, a line per set and a column per model, this model first; the best of a line in bold."""
    mine = own_rows(results)
    rows = [*mine, *(row for row in _rows(results) if row not in mine)]
    return _set_by_column(rows, lambda row: measured(row.get("model")), bold=True)


def by_variant(results: Results, section: str, plain: str = "") -> Table:
    """nDCG@10, a line per set and a column per variant of the section `dims`, `precisions` or `prompts`.

    plain: the head of a first column with the scores of the model itself; "" for no such column.
    """
    rows = _rows(results, section)
    if rows and plain:
        rows = [*({**row, "variant": plain} for row in own_rows(results)), *rows]
    return _set_by_column(rows, lambda row: measured(row.get("variant")))


def prompts_left_out(results: Results) -> list[str]:
    """Those of `WRONG_PROMPTS` that were not scored."""
    scored_with = {row.get("variant") for row in _rows(results, "prompts")}
    return [change for change in WRONG_PROMPTS if change not in scored_with]


def every_score(results: Results) -> Table:
    """Every row of the file with all that was measured."""
    rows = [
        [measured(row.get("model")), _set(row)]
        + [_task(row), counted(row.get("queries")), counted(row.get("documents"))]
        + [scored(row.get(metric)) for metric in ("ndcg@10", "mrr@10", "recall@1")]
        + [_interval(row)]
        for row in _rows(results)
    ]
    head = ["model", "set", "task", "queries", "documents", "nDCG@10", "MRR@10", "recall@1", "interval"]
    return [head, *rows] if rows else []


def by_language(results: Results) -> Table:
    """nDCG@10 by the programming language of a set's texts."""
    rows = sorted(_rows(results, "languages"), key=lambda row: (row.get("language", ""), row.get("set", "")))
    lines = [
        [measured(row.get("language")), _set(row), counted(row.get("queries")), scored(row.get("ndcg@10"))]
        for row in rows
    ]
    return [["language", "set", "queries", "nDCG@10"], *lines] if lines else []


def by_runtime(verification: Results) -> Table:
    """Each runtime that was compared with the golden vectors, and its largest distance from them."""
    rows = [
        [
            f"{measured(row.get('runtime'))} {row.get('version') or ''}".strip(),
            measured(row.get("precision")),
            _shown(row.get("worst_cosine"), ".7f"),
            _shown(row.get("worst_absolute_difference"), ".1e"),
            NOT_MEASURED if row.get("ok") is None else "yes" if row["ok"] else "**no**",
        ]
        for row in _rows(verification)
    ]
    head = ["runtime", "precision", "worst cosine", "worst difference of a number", "within tolerance"]
    return [head, *rows] if rows else []


def runtimes_left_out(verification: Results) -> list[str]:
    """Those of `RUNTIMES` that were not compared with the golden vectors."""
    compared = {row.get("runtime") for row in _rows(verification)}
    return [runtime for runtime in RUNTIMES if runtime not in compared]


def by_validation(scores: Mapping[str, float]) -> Table:
    """Scores on held-out pairs: a line per task, and a column per number of dimensions."""
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
    # NaN is the distance of a runtime that failed before the comparison.
    return NOT_MEASURED if value is None or isnan(value) else format(value, form)


# SPDX identifiers of licences that ask for the same licence on what is derived from a text.
_SHARE_ALIKE = re.compile(r"-SA-|^GFDL-")


def pairs_in(rows: Sequence[Row]) -> int:
    """Pairs of all rows."""
    return sum(int(row["pairs"]) for row in rows)


def by_licence(data: Sequence[Row]) -> list[list[str]]:
    """Licence, sources, pairs, pairs drawn; the licence with most pairs first."""
    groups = _grouped(data, _licence)
    ordered = sorted(groups.items(), key=lambda group: (-pairs_in(group[1]), group[0]))
    return [[name, f"{len({row['source'] for row in rows}):,}", *_sums(rows)] for name, rows in ordered]


def by_source(data: Sequence[Row]) -> list[list[str]]:
    """Source, licence, tasks, pairs, pairs drawn; by name."""
    return [
        [name, _licence(rows[0]), ", ".join(sorted(row["task"] for row in rows)), *_sums(rows)]
        for name, rows in sorted(_grouped(data, lambda row: row["source"]).items())
    ]


def share_alike(data: Sequence[Row]) -> list[str]:
    """The sources whose licence asks for the same licence, each with that licence."""
    found = {row["source"]: _licence(row) for row in data if _SHARE_ALIKE.search(_licence(row))}
    return [f"{source} ({spdx})" for source, spdx in sorted(found.items())]


def _licence(row: Row) -> str:
    return row.get("licence") or "not recorded"


def _grouped(data: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in data:
        groups.setdefault(key(row), []).append(row)
    return groups


def _sums(rows: Sequence[Row]) -> list[str]:
    drawn: list[int | None] = [row.get("pairs_drawn") for row in rows]
    known = [number for number in drawn if number is not None]
    return [f"{pairs_in(rows):,}", f"{sum(known):,}" if len(known) == len(rows) else NOT_MEASURED]


Report = Mapping[str, Any] | None  # of `codequarry data clean`, as in Card
_LOOK = "evaluation: "  # the names of the comparisons with evaluation sets begin so


def by_reason(report: Report) -> Table:
    """Why pairs were removed, and how many for each reason."""
    why = (report or {}).get("why") or {}
    return [["removed because", "pairs"], *([reason, counted(number)] for reason, number in why.items())]


def by_evaluation_set(report: Report) -> Table:
    """Each evaluation set: its texts, and the pairs that each comparison with them removed."""
    sets = (report or {}).get("eval_sets") or {}
    looks = list(dict.fromkeys(look for found in sets.values() for look in found.get("removed", {})))
    head = ["evaluation set", "texts", *(look.removeprefix(_LOOK) for look in looks)]
    rows = [
        [name, counted(found.get("texts"))]
        + [counted(found["removed"][look]) if look in found.get("removed", {}) else "none" for look in looks]
        for name, found in sets.items()
    ]
    return [head, *rows] if rows else []


def languages_of(report: Report, most: int = 20) -> str:
    """The `most` common languages of the pairs that were kept, with their pairs; "" if not known."""
    languages: Mapping[str, int] = (report or {}).get("languages") or {}
    common = [f"{name} {counted(number)}" for name, number in list(languages.items())[:most]]
    return ", ".join([*common, *(["and others"] if len(languages) > most else [])])


def measured(value: Any) -> str:
    """The value in words, "not measured" where there is none."""
    if value in (None, "", {}, (), []):
        return NOT_MEASURED
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def listed(values: Mapping[str, Any] | None) -> str:
    """`key value` pairs in one line. An empty list was searched for and not found: `none`."""
    words = [
        f"{key.replace('_', ' ')} {'none' if value in ([], ()) else measured(value)}"
        for key, value in (values or {}).items()
        if value is not None
    ]
    return ", ".join(words) or NOT_MEASURED


def counted(value: int | None) -> str:
    """A count with commas between thousands."""
    return NOT_MEASURED if value is None else f"{value:,}"


def scored(value: float | None) -> str:
    """A score between 0 and 1, with three decimals."""
    return NOT_MEASURED if value is None else f"{value:.3f}"


def timed(seconds: float | None) -> str:
    """A time in the unit that fits."""
    if seconds is None:
        return NOT_MEASURED
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{seconds / 3600:.1f} hours"


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table in Markdown, "not measured" where it has no rows.

    left: how many columns hold words and stand on the left; the others hold numbers.

    >>> print(table([["set", "nDCG@10"], ["conala", "0.849"]]))
    | set | nDCG@10 |
    | --- | ---: |
    | conala | 0.849 |
    """
    if len(rows) < 2:
        return NOT_MEASURED
    rule = ["---"] * left + ["---:"] * (len(rows[0]) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:]))
