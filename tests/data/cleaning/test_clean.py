import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codequarry.cli.data import add_clean_arguments as add_arguments
from codequarry.cli.data import run_clean as run
from codequarry.data.cleaning import clean as module
from codequarry.data.cleaning.clean import (
    EXAMPLES,
    REPORT,
    Limits,
    clean,
    estimated_tokens,
    token_counter,
)
from codequarry.data.cleaning.report import REASONS
from codequarry.data.eval_set import EvalSet, write_eval_set
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs, write_pairs

LONG = "\n".join(f"value_{n} = compute({n}, base={n * 7})" for n in range(30))


def pair(query: str, document: str, source: str = "one") -> Pair:
    return Pair("nl2code", query, document, source, "python")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of pairs in which every reason occurs, and two evaluation sets; one is in each."""
    write_eval_set(
        tmp_path / "eval/a",
        EvalSet("a", "nl2code", {"q": "reverse a list"}, {"d": LONG}, {"q": {"d": 1}}), {},
    )  # fmt: skip
    write_eval_set(
        tmp_path / "eval/b", EvalSet("b", "qa", {"q": "what is it"}, {"d": "nothing"}, {"q": {"d": 1}}), {}
    )
    good = [pair(f"make the number {n}", f"def number():\n    return {n} * {n}") for n in range(5)]
    write_pairs(
        tmp_path / "pairs/one.jsonl.gz",
        [
            *good,
            pair("ls", "list files here"),
            pair("too much of it", "word " * 2000),
            pair("make the  NUMBER 0", good[0].document),
            pair("Reverse a list", "items[::-1] # in place of a loop"),
            pair("compute many values", LONG.replace("compute(0", "calculate(0")),
        ],
    )
    write_pairs(
        tmp_path / "pairs/two.jsonl",
        [
            pair("make the number 1", good[1].document, "two"),
            pair("compute values", "# header\n" + LONG, "two"),
            pair("all in one place", "\n".join([LONG, *(f"print({n}, {n * 3})" for n in range(40))]), "two"),
            pair("something else entirely", "raise SystemExit(main())", "two"),
        ],
    )
    return tmp_path


def cleaned(folder: Path, out: str = "out", **settings: object) -> dict:
    return clean([folder / "pairs"], folder / out, eval_sets=[folder / "eval"], progress=False, **settings)


def files(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(out.iterdir()) if file.is_file()}


def test_each_pair_leaves_for_the_first_reason_and_is_counted_once(folder: Path) -> None:
    report = cleaned(folder)
    assert (report["in"], report["out"]) == (14, 6)
    assert report["sources"]["one"] == {
        "in": 10,
        "out": 5,
        "why": {
            "too short": 1, "too long": 1, "duplicate": 1,
            "evaluation: same text": 1, "evaluation: near-duplicate": 1,
        },
    }  # fmt: skip
    assert report["sources"]["two"]["why"] == {
        "duplicate": 1, "evaluation: same code": 1, "evaluation: shared runs": 1,
    }  # fmt: skip
    assert sum(report["why"].values()) == report["in"] - report["out"]
    assert set(report["why"]) <= set(REASONS)
    assert report["eval_sets"]["b"] == {"texts": 2, "removed": {}}
    assert sum(report["eval_sets"]["a"]["removed"].values()) == 4
    assert report["tasks"] == {"nl2code": 6}
    assert report["languages"] == {"python": 6}
    example = json.loads((folder / "out" / EXAMPLES).read_text())["evaluation: same text"][0]
    assert "reverse a list" not in (folder / "out" / REPORT).read_text()
    assert (example["because of"], example["evaluation set"]) == ("reverse a list", "a")
    kept = [
        p.query for name in ("one.jsonl.gz", "two.jsonl") for p in read_pairs(folder / "out" / name).pairs
    ]
    assert kept == [*(f"make the number {n}" for n in range(5)), "something else entirely"]


def test_the_same_input_gives_the_same_bytes_and_a_clean_input_stays_as_it_is(folder: Path) -> None:
    cleaned(folder)
    cleaned(folder, "again")
    assert files(folder / "out") == files(folder / "again")
    report = clean([folder / "out"], folder / "twice", eval_sets=[folder / "eval"], progress=False)
    assert report["in"] == report["out"] == 6
    assert read_pairs(folder / "twice/one.jsonl.gz").pairs == read_pairs(folder / "out/one.jsonl.gz").pairs


def test_a_cleaning_that_was_stopped_goes_on_with_the_next_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned(folder, "whole")
    compared: list[int] = []
    look = module._by_evaluation

    def stops(pairs: list[Pair], *rest: object) -> object:
        compared.append(len(pairs))
        if len(compared) == 2:
            raise KeyboardInterrupt
        return look(pairs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_by_evaluation", stops)
    with pytest.raises(KeyboardInterrupt):
        cleaned(folder)
    assert not (folder / "out" / REPORT).exists()
    cleaned(folder)
    assert compared == [10, 4, 4], "the first file was not compared again"
    assert files(folder / "out") == files(folder / "whole")
    cleaned(folder)
    assert len(compared) == 3, "a finished one is only read"


def test_other_limits_replace_what_the_folder_held_and_foreign_files_are_left_alone(folder: Path) -> None:
    cleaned(folder)
    report = cleaned(folder, limits=Limits(min_tokens=4))
    assert report["why"]["too short"] > 1
    assert "make the number 0" in str(read_pairs(folder / "out/one.jsonl.gz").pairs)
    (folder / "thesis").mkdir()
    (folder / "thesis/thesis.jsonl").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds thesis\.jsonl, which no cleaning wrote"):
        cleaned(folder, "thesis")
    assert (folder / "thesis/thesis.jsonl").read_text() == "years of work"


def test_a_malformed_record_is_named_or_counted(folder: Path) -> None:
    with (folder / "pairs/two.jsonl").open("a") as file:
        file.write('{"query": 3}\n')
    with pytest.raises(ValueError, match=r"two\.jsonl:5: "):
        cleaned(folder)
    report = cleaned(folder, "skipped", skip_bad=True)
    assert report["malformed"] == {"two.jsonl": 1}


def test_files_that_are_called_alike_are_told_apart_by_their_folders(folder: Path) -> None:
    for place in ("x", "y"):
        write_pairs(folder / place / "train/pairs.jsonl", [pair(f"query of {place}", f"document of {place}")])
    report = clean([folder / "x/train", folder / "y/train"], folder / "out", progress=False)
    assert report["out"] == 2
    assert set(files(folder / "out")) == {"x.train.pairs.jsonl", "y.train.pairs.jsonl", REPORT, EXAMPLES}
    with pytest.raises(ValueError, match="given twice"):
        clean([folder / "x/train", folder / "x/train/pairs.jsonl"], folder / "out2", progress=False)


def test_a_negative_that_stands_in_an_evaluation_set_takes_its_pair_along(folder: Path) -> None:
    write_pairs(
        folder / "pairs/two.jsonl",
        [Pair("nl2code", "a query of mine", "an answer of mine", "two", "python", (LONG,))],
    )
    assert cleaned(folder)["sources"]["two"]["why"] == {"evaluation: same text": 1}


def test_a_kill_leaves_nothing_half_written(folder: Path) -> None:
    """Killed at moments from the start to the end; the same command then gives what one run gives."""
    cleaned(folder, "whole")
    program = (
        "import sys; from pathlib import Path; from codequarry.data.cleaning.clean import clean\n"
        "f = Path(sys.argv[1]); clean([f / 'pairs'], f / 'out', eval_sets=[f / 'eval'], progress=False)"
    )
    for wait in (0.5, 0.8, 1.2):
        process = subprocess.Popen([sys.executable, "-c", program, str(folder)], env=os.environ)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for file in (folder / "out").glob("*.jsonl*") if (folder / "out").exists() else ():
            assert read_pairs(file).pairs
    cleaned(folder)
    assert files(folder / "out") == files(folder / "whole")


def test_the_verb_prints_a_table_of_sources_and_of_evaluation_sets(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = [str(folder / "pairs"), "--eval", str(folder / "eval"), "--out", str(folder / "out")]
    run(parser.parse_args(words))
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    assert ["all", "14", "1", "1", "2", "1", "1", "1", "1", "6"] in lines
    assert ["a", "2", "1", "1", "1", "1"] in lines
    assert f"6 of 14 pairs are in {folder / 'out'}" in printed
    report = json.loads((folder / "out" / REPORT).read_text())
    assert str(folder) not in json.dumps(report), "no path of this machine is written"


TEXTS = [
    "How do I read a file line by line in Python?",
    Path(__file__).read_text(encoding="utf-8"),
    "SELECT name FROM users WHERE age > 30 AND city = 'Paris'",
]


def test_a_real_tokenizer_counts_its_own_tokens_without_special_ones(small_decoder: Path) -> None:
    from transformers import AutoTokenizer

    real = AutoTokenizer.from_pretrained(small_decoder)
    expected = [len(real(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    assert token_counter(small_decoder)(TEXTS) == expected


def test_the_estimate_is_near_a_trained_wordpiece_tokenizer(minilm: Path) -> None:
    """MiniLM's is another one than the one the estimate was fitted to."""
    for text, true in zip(TEXTS, token_counter(minilm)(TEXTS), strict=True):
        assert 0.7 < estimated_tokens(text) / true < 1.4
    assert token_counter()(TEXTS) == [estimated_tokens(text) for text in TEXTS]


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no tokenizer that can be read"):
        token_counter(tmp_path)
    with pytest.raises(ValueError, match=r"is not a folder: expected one with tokenizer\.json"):
        token_counter(tmp_path / "absent")
