"""`codequarry benchmark` from end to end, and what it says to bad input."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codequarry.__main__ import main
from codequarry.benchmarks.models import WRONG_PROMPTS
from codequarry.cli.benchmark import add_arguments, run
from codequarry.common.files import temporary_path
from codequarry.data.eval_set import EvalSet, write_eval_set
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs

TEXTS = {"q0": "sort a list", "q1": "parse a date"}
CODE = {"d0": "def f(x): return sorted(x)", "d1": "def parse(date): return strptime(date)"}
SET = EvalSet("tiny", "nl2code", TEXTS, CODE, {"q0": {"d0": 1}, "q1": {"d1": 1}}, {"q0": "go", "q1": "c"})


def benchmark(*words: object) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    for name in ("tiny", "twin"):
        write_eval_set(tmp_path / "sets" / name, SET, {})
    return tmp_path / "sets"


@pytest.fixture
def places(tmp_path: Path) -> list[object]:
    return ["--out", tmp_path / "out", "--cache", tmp_path / "vectors"]


def test_one_run_prints_tables_and_leaves_a_summary_and_mtebs_tree(
    sets: Path, places: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extras = ["--dims", "64", "--precision", "int8,binary", "--compare", "all-MiniLM-L6-v2", "BM25"]
    benchmark("all-MiniLM-L6-v2", "--data", sets, *extras, *places)
    printed = capsys.readouterr().out
    for words in ("Fewer dimensions", "fewer bits", "By language", "less BM25", "texts/s", "wrote "):
        assert words in printed
    record = json.loads((tmp_path / "out/all-MiniLM-L6-v2.json").read_text())
    assert [row["set"] for row in record["rows"] if row["model"] == "BM25"] == ["tiny", "twin", "mean"]
    assert {row["model"] for row in record["rows"]} == {
        "BM25", "BM25, plain words", "all-MiniLM-L6-v2", "all-MiniLM-L6-v2 + BM25",
    }  # fmt: skip
    for field in ("benchmark", "command", "date", "hardware", "versions", "speed", "revision", "int8"):
        assert record[field]
    assert record["versions"]["mteb"]
    assert record["speed"]["processor"]
    assert record["speed"]["compute"]
    assert [row["variant"] for row in record["dims"]] == ["64 dims"] * 3
    assert {line["language"] for line in record["languages"]} == {"go", "c"}
    assert [line["set"] for line in record["comparisons"]] == ["tiny", "twin", "mean"]
    assert len(list((tmp_path / "out").glob("*/*/tiny.json"))) == 4
    assert str(tmp_path) not in json.dumps(record)


def test_only_the_sets_or_tasks_named_are_scored(sets: Path, places: list[object], tmp_path: Path) -> None:
    benchmark("all-MiniLM-L6-v2", "--data", sets, "--tasks", "twin", *places)
    record = json.loads((tmp_path / "out/all-MiniLM-L6-v2.json").read_text())
    assert {row["set"] for row in record["rows"]} == {"twin"}
    with pytest.raises(ValueError, match=r"'twni' is neither a set at .* there are tiny, twin"):
        benchmark("all-MiniLM-L6-v2", "--data", sets, "--tasks", "twni,nl2code", *places)


def test_a_sample_is_scored_alike_for_every_model_and_says_that_it_is_one(
    sets: Path, places: list[object], tmp_path: Path
) -> None:
    benchmark("all-MiniLM-L6-v2", "--data", sets, "--sample", "1", *places)
    record = json.loads((tmp_path / "out/all-MiniLM-L6-v2__sample1.json").read_text())
    assert {row["queries"] for row in record["rows"] if row["set"] != "mean"} == {1}
    assert record["benchmark"].endswith("at most 1 queries of each and 1,500 other documents")
    assert not list((tmp_path / "out").glob("*/*/tiny.json"))  # MTEB's tree is of whole sets
    with pytest.raises(ValueError, match="--sample takes queries of the sets at --data"):
        benchmark("all-MiniLM-L6-v2", "--pairs", sets, "--sample", "1", *places)


def test_pairs_are_scored_by_task(places: list[object], tmp_path: Path) -> None:
    pairs = [Pair("nl2code", TEXTS[f"q{n}"], CODE[f"d{n}"], "s", "python") for n in range(2)]
    write_pairs(tmp_path / "pairs.jsonl", [*pairs, Pair("qa", "why?", "because", "s", "en")])
    benchmark("all-MiniLM-L6-v2", "--pairs", tmp_path / "pairs.jsonl", *places)
    record = json.loads((tmp_path / "out/all-MiniLM-L6-v2.json").read_text())
    assert [row["task"] for row in record["rows"][:3]] == ["nl2code", "qa", "mean"]
    assert record["benchmark"] == "held-out pairs of pairs.jsonl"


def _malformed_line(folder: Path) -> None:
    (folder / "tiny/queries.jsonl").write_text('{"_id": "q0", "text": "a"}\n{"_id": \n')


def _empty_corpus(folder: Path) -> None:
    (folder / "tiny/corpus.jsonl").write_text("")


def _duplicate_id(folder: Path) -> None:
    file = folder / "tiny/corpus.jsonl"
    file.write_text(file.read_text() * 2)


def _unanswered(folder: Path) -> None:
    file = folder / "tiny/qrels/test.tsv"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_malformed_line, r"queries\.jsonl:2: not JSON"),
        (_empty_corpus, "The set tiny has no document"),
        (_duplicate_id, r"corpus\.jsonl:3: the id 'd0' was given in line 1"),
        (_unanswered, "Query 'q1' of tiny: no document answers it"),
    ],
)
def test_a_bad_set_is_a_sentence_and_nothing_is_written(
    damage: Callable[[Path], None], sentence: str, sets: Path, places: list[object], tmp_path: Path
) -> None:
    damage(sets)
    with pytest.raises(ValueError, match=sentence):
        benchmark("all-MiniLM-L6-v2", "--data", sets, *places)
    assert not (tmp_path / "out").exists()


def test_a_malformed_pair_is_named_with_file_and_line(places: list[object], tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(
        '{"task": "nl2code", "query": "a", "document": "b", "source": "s", "language": "c"}\n'
        '{"task": "nl2code"}\n'
    )
    with pytest.raises(ValueError, match=r"pairs\.jsonl:2: The record lacks query"):
        benchmark("all-MiniLM-L6-v2", "--pairs", tmp_path / "pairs.jsonl", *places)


def test_a_model_that_cannot_be_loaded_stops_before_anything_is_scored(
    sets: Path, places: list[object], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"'./absent' is not here"):
        benchmark("all-MiniLM-L6-v2", "./absent", "--data", sets, *places)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_a_sentence_and_the_old_summary_stays(
    sets: Path, places: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    benchmark("all-MiniLM-L6-v2", "--data", sets, "--tasks", "tiny", *places)
    before = (out / "all-MiniLM-L6-v2.json").read_bytes()
    # Where the new file would be written first: a device that is always full.
    temporary_path(out / "all-MiniLM-L6-v2.json").symlink_to("/dev/full")
    with pytest.raises(SystemExit, match=r"error: .*: No space left on device"):
        main(["benchmark", "all-MiniLM-L6-v2", "--data", str(sets), *map(str, places)])
    assert (out / "all-MiniLM-L6-v2.json").read_bytes() == before
    assert not list(out.rglob(".*"))


def test_no_sets_and_no_model_are_sentences(sets: Path) -> None:
    with pytest.raises(ValueError, match="nothing to score on: pass --data DIR"):
        benchmark("mini")
    with pytest.raises(ValueError, match="no model was named"):
        benchmark("--data", sets)


def test_a_machine_without_mteb_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)  # what imports it fails
    monkeypatch.setattr("codequarry.cli.benchmark.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"need mteb and bm25s: pip install 'codequarry\[benchmark\]'"):
        benchmark("mini", "--agentic")


@pytest.mark.parametrize(
    "words",
    [
        ["--dims", "64,x"],
        ["--precision", "int4"],
        ["--prompts-cost", "none,all"],
        ["--data", "a", "--pairs", "b"],
    ],
)
def test_options_that_mean_nothing_end_at_once(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark("mini", *words)


@pytest.mark.parametrize(
    ("words", "scored"),
    [
        ([], ()),
        (["--prompts-cost"], tuple(WRONG_PROMPTS)),
        (["--prompts-cost", "none"], ("none",)),
        (["--prompts-cost", "task,none"], ("none", "task")),
    ],
)
def test_all_wrong_prompts_are_scored_unless_some_are_named(
    words: list[str], scored: tuple[str, ...]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args(["mini", *words]).prompts_cost == scored


def test_a_file_is_no_place_for_results(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"results would get <model>\.json"):
        benchmark("mini", "--data", sets, "--out", tmp_path / "results.json")
