"""Benchmark results as a page: tables with intervals, two plots, and under each what made it.

    codequarry benchmark --report [--out DIR]

Reads every `*.json` of the results folder and leaves `report.md` and the plots there. Only figures that stand
in those files are shown; what was not measured is called "not measured".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.benchmarks.plots import (
    Curve,
    Point,
    quality_against_cost,
    quality_against_speed,
    quality_by_dimension,
    write_plot,
)
from codequarry.benchmarks.results import BM25, FUSED, MEAN
from codequarry.common.errors import UserError
from codequarry.common.files import write_text
from codequarry.common.tables import markdown_table
from codequarry.data.catalog.registry import EVAL_SOURCES
from codequarry.integrations.mteb import counts_in_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "report.md"

ABSENT = "not measured"

TRAINING = "training-"  # what the names of results on training begin with

_SECTIONS = {"dims": "Fewer dimensions", "precisions": "Documents stored in fewer bits", "prompts": "Prompts"}

Record = dict[str, Any]  # a results file, or a row of one


@dataclass(frozen=True)
class Benchmark:
    """Results files that answer the same question, by name of file."""

    title: str
    files: dict[str, Record]

    @property
    def rows(self) -> dict[tuple[str, str], Record]:
        """Every row by set and model."""
        return {(_set_of(row), row["model"]): row for record in self.files.values() for row in record["rows"]}

    @property
    def models(self) -> list[str]:
        """Models in the order in which the files name them, what has no weights first."""
        return list(dict.fromkeys(model for _, model in self.rows))

    @property
    def sets(self) -> list[str]:
        """Sets in the order in which the files name them, without the mean."""
        return [name for name in dict.fromkeys(name for name, _ in self.rows) if name != MEAN]

    @property
    def costs(self) -> list[Record]:
        """What each contender costs, by the first file that says so; [] where none does."""
        return next((record["costs"] for record in self.files.values() if record.get("costs")), [])

    def mean(self, model: str) -> Record | None:
        """A model's mean; None where it was not scored on every set of the benchmark."""
        whole = all((name, model) in self.rows for name in self.sets)
        return self.rows.get((MEAN, model)) if whole else None


def write_report(folder: Path) -> list[Path]:
    """Render the results in a folder; returns the paths of the page and the plots, written there.

    The same results give the same bytes. A plot whose figures were not measured is taken away.

    Raises UserError for a folder without results, a file that is none, and files that contradict each other.
    """
    benchmarks = read_benchmarks(folder)
    written: list[Path] = []
    parts = ["# Benchmarks", _LEGEND]
    for number, benchmark in enumerate(benchmarks):
        parts += [f"## {benchmark.title[:1].upper()}{benchmark.title[1:]}", score_table(benchmark)]
        if any("model" in record for record in benchmark.files.values()):
            parts += [*_sections(benchmark), *_quality_and_cost(benchmark)]
            for name, figure, why_not in _figures(benchmark):
                name = name if number == 0 else f"{name}_{number + 1}"
                if figure is None:
                    for ending in ("svg", "png"):
                        (folder / f"{name}.{ending}").unlink(missing_ok=True)
                    parts += [why_not] * bool(why_not)
                else:
                    written += write_plot(folder, name, figure)
                    parts.append(f"![{name.replace('_', ' ').capitalize()}]({name}.svg)")
        parts += [*_faithfulness(benchmark), _origins(benchmark)]
    write_text(folder / REPORT, "\n\n".join(parts) + "\n")
    return [folder / REPORT, *written]


_LEGEND = (
    "nDCG@10 in percent, best of a line in bold; behind it half the width of the 95% bootstrap interval over "
    "queries. Rendered by `codequarry benchmark --report` from the files beside this one."
)


def read_benchmarks(folder: Path) -> list[Benchmark]:
    """The results in a folder, those of models first, one benchmark per question.

    Files of another kind are passed over, those on training (`training-….json`) among them.

    Raises UserError as `write_report` does.
    """
    groups: dict[str, dict[str, Record]] = {}
    for file in sorted(folder.glob("*.json")):
        if file.name.startswith(TRAINING):
            continue
        record = _read(file)
        if record is not None:
            groups.setdefault(record["benchmark"], {})[file.name] = record
    if not groups:
        raise UserError(
            f"{folder} holds no results: codequarry benchmark MODEL --data DIR --out {folder} makes some."
        )
    found = [Benchmark(title, _with_own_rows(files)) for title, files in groups.items()]
    for benchmark in found:
        _refuse_contradictions(benchmark)
    return sorted(found, key=lambda one: ("model" not in next(iter(one.files.values())), one.title))


def score_table(benchmark: Benchmark) -> str:
    """A Markdown table: one line per set, one column per model, the mean last, saturated sets marked."""
    models, rows = benchmark.models, benchmark.rows
    lines = []
    for name in benchmark.sets:
        found = [rows.get((name, model)) for model in models]
        some = next(row for row in found if row is not None)
        mark = "" if counts_in_mean(name) else "\\*"
        about = [f"{name}{mark}", some["task"], f"{some['queries']:,}", f"{some['documents']:,}"]
        lines.append([*about, *_cells(found)])
    means = [benchmark.mean(model) for model in models]
    if any(means):  # sets of different kinds, as of a repository, have none
        lines.append(["**mean**", "", "", "", *_cells(means)])
    text = markdown_table(["set", "task", "queries", "documents", *models], lines, words=["task"])
    if not all(map(counts_in_mean, benchmark.sets)):
        text += "\n\n\\* saturated: a sanity check, left out of the mean."
    return text


def _sections(benchmark: Benchmark) -> list[str]:
    """Tables of what dimensions, precisions and prompts cost, in means; a sentence where there is none."""
    records = [record for record in benchmark.files.values() if "model" in record]
    parts = []
    for section, title in _SECTIONS.items():
        means = {record["model"]: _variant_means(record, section) for record in records}
        names = list(dict.fromkeys(name for found in means.values() for name in found))
        if not names:
            parts.append(f"{title}: {ABSENT}.")
            continue
        lines = [
            [model, *_cells([benchmark.mean(model), *(found.get(name) for name in names)], bold=False)]
            for model, found in means.items()
        ]
        parts.append(f"{title}, mean over sets:\n\n{markdown_table(['model', 'whole', *names], lines)}")
    return parts


def _figures(benchmark: Benchmark) -> "list[tuple[str, Figure | None, str]]":
    """Name and figure of each plot, or None and the sentence, if any, that says what is missing."""
    records = [record for record in benchmark.files.values() if "model" in record]
    level = benchmark.mean(BM25)
    line = (BM25, level["ndcg@10"]) if level else None
    count = sum(map(counts_in_mean, benchmark.sets))
    over = f"{benchmark.title}, mean over {count}" if count > 1 else benchmark.title
    curves = [curve for record in records if (curve := _curve(record, benchmark)) is not None]
    measured = {
        record["model"]: point for record in records if (point := _point(record, benchmark)) is not None
    }
    points = list(measured.values())
    machines = _machines(record for record in records if record["model"] in measured)
    by_dimension = quality_by_dimension(curves, over, line) if curves else None
    by_speed = quality_against_speed(points, f"{over} · {machines}", line) if points else None
    no_dimension = f"Quality by dimension: {ABSENT}; `--dims 384,256,128,64` does."
    by_cost = [
        Point(row["model"], row["document_ms"], mean["ndcg@10"], mean["low"], mean["high"])
        for row in benchmark.costs
        if (mean := benchmark.mean(row["model"])) is not None and "low" in mean
    ]
    processors = {record["hardware"]["processor"] for record in records if record.get("costs")}
    costs = quality_against_cost(by_cost, f"{over} · {' / '.join(sorted(processors))}") if by_cost else None
    return [
        ("quality_by_dimension", by_dimension, no_dimension),
        ("quality_against_speed", by_speed, f"Quality against speed: {ABSENT} on every set."),
        ("quality_against_cost", costs, ""),
    ]


def _quality_and_cost(benchmark: Benchmark) -> list[str]:
    """The table of what each contender scores and costs; nothing where costs were not measured."""
    if not benchmark.costs:
        return []
    return [f"Quality and cost, mean over sets:\n\n{cost_table(benchmark)}"]


def cost_table(benchmark: Benchmark) -> str:
    """A Markdown table: what each contender scores in the mean, and its milliseconds of the processor."""
    lines = [
        [
            row["model"],
            *_cells([benchmark.mean(row["model"])], bold=False),
            f"{row['document_ms']:.2f}",
            f"{row['query_ms']:.1f}",
        ]
        for row in benchmark.costs
    ]
    return markdown_table(["contender", "nDCG@10", "ms per document", "ms per query"], lines)


def _curve(record: Record, benchmark: Benchmark) -> Curve | None:
    means = _variant_means(record, "dims")
    points = tuple(sorted((int(name.split()[0]), row["ndcg@10"]) for name, row in means.items()))
    return Curve(record["model"], points) if points and benchmark.mean(record["model"]) else None


def _point(record: Record, benchmark: Benchmark) -> Point | None:
    mean, speed = benchmark.mean(record["model"]), record.get("speed", {}).get("texts_per_second", 0)
    if mean is None or not speed or "low" not in mean:
        return None
    return Point(record["model"], speed, mean["ndcg@10"], mean["low"], mean["high"])


def _variant_means(record: Record, section: str) -> dict[str, Record]:
    """The mean of each variant by its name; of a run on one set, that set's row."""
    rows = record.get(section, [])
    several = any(_set_of(row) == MEAN for row in rows)
    return {row["variant"]: row for row in rows if not several or _set_of(row) == MEAN}


def _faithfulness(benchmark: Benchmark) -> list[str]:
    """What each public set's scores may be compared with; nothing for sets that have no row."""
    rows = [EVAL_SOURCES[name] for name in benchmark.sets if name in EVAL_SOURCES]
    if not rows:
        return []
    lines = [f"- {row.name}{f', after {row.mirrors}' if row.mirrors else ''}: {row.faithful}" for row in rows]
    return ["How faithful each set is to its MTEB namesake:\n\n" + "\n".join(lines)]


def _origins(benchmark: Benchmark) -> str:
    """The command, date, machine and versions behind each file, and what its run had to say."""
    lines = []
    by_versions: dict[str, list[str]] = {}
    for name, record in benchmark.files.items():
        lines.append(f"- [{name}]({name}): `{record['command']}`, {record['date']}, {_machines([record])}.")
        lines += [f"  - {note}" for note in record.get("notes", [])]
        versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
        by_versions.setdefault(versions, []).append(name)
    for versions, names in by_versions.items():
        of_these = f" of {', '.join(names)}" if len(by_versions) > 1 else ""
        lines.append(f"- Versions{of_these}: {versions}.")
    return "\n".join(lines)


def _machines(records: Iterable[Record]) -> str:
    """The machines of some files, each once, with the number formats that models computed in there."""
    found: dict[str, set[str]] = {}
    for record in records:
        hardware = record["hardware"]
        named = hardware.get("accelerator") or hardware["processor"]
        formats = found.setdefault(f"{named}, {hardware['cores']} cores", set())
        formats.update({record.get("speed", {}).get("compute")} - {None})
    each = [
        f"{name}, {' and '.join(sorted(formats))}" if formats else name for name, formats in found.items()
    ]
    return " / ".join(sorted(each))


def _cells(rows: Sequence[Record | None], *, bold: bool = True) -> list[str]:
    best = max((row["ndcg@10"] for row in rows if row is not None), default=0.0)
    cells = []
    for row in rows:
        if row is None:
            cells.append(ABSENT)
            continue
        score = f"{100 * row['ndcg@10']:.1f}"
        score = f"**{score}**" if bold and row["ndcg@10"] == best else score
        cells.append(f"{score} ±{50 * (row['high'] - row['low']):.1f}" if "low" in row else score)
    return cells


def _set_of(row: Record) -> str:
    name: str = row.get("set") or row["task"]  # files written before sets had names
    return name


def _read(file: Path) -> Record | None:
    """A results file; None for a file of another kind, such as a report on data."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(record, dict) and "benchmark" not in record:
            return None
        for name in ("benchmark", "command", "date", "hardware", "versions", "rows"):
            record[name]
        for row in record["rows"]:
            row["model"], row["task"], row["queries"], row["documents"], row["ndcg@10"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is no results file of `codequarry benchmark` ({type(error).__name__}: {error}): move it "
            "out of the folder, or make it again."
        ) from error
    return dict(record)


def _with_own_rows(files: dict[str, Record]) -> dict[str, Record]:
    """The files without rows of models that have a file of their own, which may be of a later run."""
    labels = {record["model"] for record in files.values() if "model" in record}
    return {
        name: record
        | {
            "rows": [
                row
                for row in record["rows"]
                if row["model"].removesuffix(FUSED) not in labels - {record.get("model")}
            ]
        }
        for name, record in files.items()
    }


def _refuse_contradictions(benchmark: Benchmark) -> None:
    """Raise UserError where two files scored one set in two versions, or a model twice with two results."""
    seen: dict[tuple[str, str], tuple[str, Record]] = {}
    sizes: dict[str, tuple[str, tuple[int, int]]] = {}
    for name, record in benchmark.files.items():
        for row in record["rows"]:
            of_set = _set_of(row)
            size = row["queries"], row["documents"]
            first, known = sizes.setdefault(of_set, (name, size))
            if of_set != MEAN and known != size:
                raise UserError(
                    f"{first} and {name} scored {of_set} in two versions, of {known[0]:,} and {size[0]:,} "
                    f"queries, {known[1]:,} and {size[1]:,} documents: run one of them again."
                )
            other, twin = seen.setdefault((of_set, row["model"]), (name, row))
            if of_set != MEAN and abs(twin["ndcg@10"] - row["ndcg@10"]) > 1e-4:
                raise UserError(
                    f"{other} and {name} do not agree about {row['model']} on {of_set}, "
                    f"{twin['ndcg@10']} and {row['ndcg@10']}: run one of them again."
                )


def verified_table(verifications: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per runtime and precision, one column per release: worst cosine, worst absolute difference.

    verifications: by the name of the release, what `codequarry release verify --out` wrote of it.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for name, verification in verifications.items():
        for row in verification["rows"]:
            of = cells.setdefault((f"{row['runtime']} {row['version']}", row["precision"]), {})
            of[name] = f"{row['worst_cosine']:.7f}, {row['worst_absolute_difference']:.1e}"
    return markdown_table(
        ["runtime", "precision", *verifications],
        [[*runtime, *(of.get(name, "-") for name in verifications)] for runtime, of in cells.items()],
        words=["precision"],
    )
