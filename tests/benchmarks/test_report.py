import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from codequarry.benchmarks import report
from codequarry.benchmarks.report import verified_table, write_report
from codequarry.benchmarks.results import Row, write_results
from codequarry.data.catalog.registry import EVAL_SOURCES

SCORES = {  # by model: mbpp, codexglue_java_cs (saturated), docs_qa
    "BM25": (0.33, 0.98, 0.41),
    "mini": (0.75, 0.99, 0.52),
    "mini + BM25": (0.71, 0.985, 0.55),
}

SETS = ("mbpp", "codexglue_java_cs", "docs_qa")

PROGRAM = "evaluation sets of eval"


def row(model: str, name: str, score: float, variant: str = "", queries: int = 100) -> Row:
    return Row(model, "nl2code", queries, 50, score, score, score, name, score - 0.02, score + 0.02, variant)


def rows(models: tuple[str, ...]) -> list[Row]:
    found = [row(model, *cell) for model in models for cell in zip(SETS, SCORES[model], strict=True)]
    return found + [row(model, "mean", (SCORES[model][0] + SCORES[model][2]) / 2) for model in models]


def write(path: Path, found: list[Row], title: str = PROGRAM, **more: Any) -> None:
    write_results(path, found, benchmark=title, command="codequarry benchmark mini --data eval", more=more)


def dims(model: str) -> list[dict[str, Any]]:
    return [
        row(model, name, score, f"{size} dims").record()
        for size, score in ((384, 0.63), (128, 0.58))
        for name in ("mbpp", "mean")
    ]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    speed = {"texts_per_second": 60.5, "compute": "bf16"}
    write(tmp_path / "mini.json", rows(tuple(SCORES)), model="mini", speed=speed, dims=dims("mini"))
    notes = ["commits: 12 messages, 2026-01-01 to 2026-02-01."]
    write(tmp_path / "repository__x.json", [row("mini", "commits", 0.5)], "the repository x", notes=notes)
    return tmp_path


def line_of(text: str, start: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return found


def test_the_table_has_every_score_with_its_interval_the_best_in_bold(results: Path) -> None:
    write_report(results)
    text = (results / "report.md").read_text()
    assert line_of(text, "mbpp") == "| mbpp | nl2code | 100 | 50 | 33.0 ±2.0 | **75.0** ±2.0 | 71.0 ±2.0 |"
    assert line_of(text, "docs_qa").endswith("| 41.0 ±2.0 | 52.0 ±2.0 | **55.0** ±2.0 |")
    assert line_of(text, "**mean**").endswith("| 37.0 ±2.0 | **63.5** ±2.0 | 63.0 ±2.0 |")
    assert line_of(text, "codexglue_java_cs").startswith("| codexglue_java_cs\\* |")
    assert "left out of the mean" in text
    record = json.loads((results / "mini.json").read_text())
    for fact in (record["command"], record["date"], record["hardware"]["processor"], "commits: 12 messages"):
        assert fact in text


def test_a_public_set_says_what_its_scores_may_be_compared_with(results: Path) -> None:
    write_report(results)
    text = (results / "report.md").read_text()
    assert f"- mbpp, after MBPPRetrieval: {EVAL_SOURCES['mbpp'].faithful}\n" in text


def test_what_nobody_measured_is_said(results: Path) -> None:
    write(results / "tiny.json", [row("tiny", "mbpp", 0.2), row("tiny", "mean", 0.2)], model="tiny")
    write_report(results)
    text = (results / "report.md").read_text()
    assert line_of(text, "docs_qa").endswith("| not measured |")
    # A mean over fewer sets is no mean to compare.
    assert line_of(text, "**mean**").endswith("| not measured |")
    assert "Prompts: not measured." in text
    assert "Documents stored in fewer bits: not measured." in text
    assert "| mini | 63.5 ±2.0 | 63.0 ±2.0 | 58.0 ±2.0 |" in text
    assert "| tiny | not measured | not measured | not measured |" in text


def test_the_same_results_give_the_same_bytes_and_the_plots_are_images(results: Path) -> None:
    written = write_report(results)
    assert [path.name for path in written] == [
        "report.md", "quality_by_dimension.svg", "quality_by_dimension.png",
        "quality_against_speed.svg", "quality_against_speed.png",
    ]  # fmt: skip
    before = [path.read_bytes() for path in written]
    write_report(results)
    assert [path.read_bytes() for path in written] == before
    for path, content in zip(written, before, strict=True):
        if path.suffix == ".svg":
            ElementTree.fromstring(content)
            assert b"prefers-color-scheme:dark" in content
            assert f"({path.name})" in before[0].decode()
        elif path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
    assert not [path for path in results.iterdir() if path.name.startswith(".")]


def test_a_plot_without_figures_is_taken_away_and_its_absence_said(results: Path) -> None:
    write_report(results)
    write(results / "mini.json", rows(tuple(SCORES)), model="mini")
    assert [path.name for path in write_report(results)] == ["report.md"]
    assert {path.suffix for path in results.iterdir()} == {".json", ".md"}
    text = (results / "report.md").read_text()
    assert "Quality by dimension: not measured" in text
    assert "Quality against speed: not measured" in text


def test_what_contenders_cost_stands_next_to_their_quality_in_a_table_and_a_plot(results: Path) -> None:
    costs = [
        {"model": "BM25", "documents": 50, "document_ms": 0.2, "queries": 5, "query_ms": 1.0},
        {"model": "mini", "documents": 50, "document_ms": 10.25, "queries": 5, "query_ms": 4.0},
    ]
    write(results / "mini.json", rows(tuple(SCORES)), model="mini", costs=costs)
    written = [path.name for path in write_report(results)]
    assert "quality_against_cost.svg" in written
    lines = (results / "report.md").read_text().splitlines()
    start = lines.index("| contender | nDCG@10 | ms per document | ms per query |")
    assert lines[start + 2 : start + 4] == [
        "| BM25 | 37.0 ±2.0 | 0.20 | 1.0 |",
        "| mini | 63.5 ±2.0 | 10.25 | 4.0 |",
    ]
    drawn = (results / "quality_against_cost.svg").read_text()
    assert "Quality against seconds to index" in drawn
    write(results / "mini.json", rows(tuple(SCORES)), model="mini")
    write_report(results)
    assert not (results / "quality_against_cost.svg").exists()


def test_results_that_contradict_each_other_are_refused(results: Path) -> None:
    write(results / "tiny.json", [row("BM25", "mbpp", 0.33, queries=99)], model="tiny")
    with pytest.raises(ValueError, match=r"mini\.json and tiny\.json scored mbpp in two versions"):
        write_report(results)
    write(results / "tiny.json", [row("BM25", "mbpp", 0.35)], model="tiny")
    with pytest.raises(ValueError, match=r"do not agree about BM25 on mbpp, 0\.33 and 0\.35"):
        write_report(results)


def test_a_models_own_file_speaks_for_it_when_another_run_scored_it_too(results: Path) -> None:
    older = [row("BM25", "mbpp", 0.33), row("mini", "mbpp", 0.6), row("tiny", "mbpp", 0.2)]
    write(results / "tiny.json", older, model="tiny")
    write_report(results)
    line = line_of((results / "report.md").read_text(), "mbpp")
    assert line.endswith("| 33.0 ±2.0 | **75.0** ±2.0 | 71.0 ±2.0 | 20.0 ±2.0 |")


@pytest.mark.parametrize("text", ["{", "[]", '{"benchmark": "b"}'])
def test_a_file_that_is_no_results_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(ValueError, match=r"odd\.json is no results file"):
        write_report(tmp_path)


def test_the_users_own_settings_of_matplotlib_change_nothing(results: Path) -> None:
    import matplotlib

    write_report(results)
    before = (results / "quality_by_dimension.svg").read_bytes()
    with matplotlib.rc_context(
        {"axes.grid.axis": "x", "lines.dash_capstyle": "round", "font.weight": "bold"}
    ):
        write_report(results)
    assert (results / "quality_by_dimension.svg").read_bytes() == before


def test_without_matplotlib_the_sentence_says_what_to_install(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 'codequarry\[benchmark\]'"):
        write_report(results)


def test_a_report_on_something_else_in_the_folder_is_passed_over(results: Path) -> None:
    (results / "decontamination.json").write_text('{"sources": []}')
    write_report(results)
    assert "decontamination" not in (results / "report.md").read_text()


def test_a_folder_without_results_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no results"):
        write_report(tmp_path)


def verification(*rows):
    names = ("runtime", "version", "precision", "worst_cosine", "worst_absolute_difference")
    return {"rows": [dict(zip(names, row, strict=True)) for row in rows]}


def test_a_runtime_is_a_line_and_a_release_a_column():
    table = verified_table(
        {
            "mini": verification(("transformers", "5.23.0", "float32", 0.9999994, 2.9e-7)),
            "nano": verification(
                ("transformers", "5.23.0", "float32", 1.0, 1.8e-7),
                ("llama-cpp-python", "0.3.36", "f16", 0.9999997, 3.3e-4),
            ),
        }
    )
    assert table.splitlines() == [
        "| runtime | precision | mini | nano |",
        "| --- | --- | --: | --: |",
        "| transformers 5.23.0 | float32 | 0.9999994, 2.9e-07 | 1.0000000, 1.8e-07 |",
        "| llama-cpp-python 0.3.36 | f16 | - | 0.9999997, 3.3e-04 |",
    ]


def test_a_machine_is_named_once_with_the_formats_that_were_computed_in_there() -> None:
    def record(processor: str, compute: str) -> dict[str, Any]:
        return {"hardware": {"processor": processor, "cores": 2}, "speed": {"compute": compute}}

    both = [record("Xeon", "int8"), record("Xeon", "fp32"), record("EPYC", "bf16")]
    assert report._machines(both) == "EPYC, 2 cores, bf16 / Xeon, 2 cores, fp32 and int8"
    assert report._machines([{"hardware": {"processor": "Xeon", "cores": 2}}]) == "Xeon, 2 cores"
