import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from codequarry.data.catalog.build_eval import about, build_eval, fingerprint, summary_table
from codequarry.data.catalog.registry import EVAL_SOURCES
from codequarry.data.catalog.schema import Git
from codequarry.data.eval_set import read_eval_set

RECORDS = '{"text": "add two numbers", "code": "a + b"}\n{"text": "subtract", "code": "a - b"}\n'


def _commit(folder: Path, **files: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "One more"]):
        subprocess.run(["git", "-C", folder, *identity, *command], check=True, capture_output=True)
    return subprocess.check_output(["git", "-C", folder, "rev-parse", "HEAD"], text=True).strip()


@pytest.fixture
def mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clones with one small source, and a single row, of MBPP's set, that reads it."""
    _use(_commit(tmp_path / "clones/owner+small", **{"rows.jsonl": RECORDS}), monkeypatch)
    return tmp_path / "clones"


def _use(commit: str, monkeypatch: pytest.MonkeyPatch, **changed: object) -> None:
    row = replace(EVAL_SOURCES["mbpp"], where=(Git("owner/small", commit, ("/rows.jsonl",)),))
    rows = MappingProxyType({"mbpp": replace(row, **changed)})  # type: ignore[arg-type]
    for module in ("registry", "build_eval"):
        monkeypatch.setattr(f"codequarry.data.catalog.{module}.EVAL_SOURCES", rows)


def test_a_set_lies_on_disk_with_where_it_comes_from(tmp_path: Path, mirrors: Path) -> None:
    [built] = build_eval(tmp_path / "out", mirrors=mirrors, progress=False)
    assert (built.queries, built.documents, built.made) == (2, 2, True)
    found = read_eval_set(tmp_path / "out/mbpp")
    assert list(found.queries.values()) == ["add two numbers", "subtract"]
    assert found.languages == {"q0": "python", "q1": "python"}
    said = json.loads((tmp_path / "out/mbpp/set.json").read_bytes())
    assert said["sources"][0]["repository"] == "owner/small"
    assert said["licence"] == "CC-BY-4.0"
    assert said["redistributable"] is True


def test_a_set_of_the_same_row_is_kept_and_one_of_another_is_made_again(
    tmp_path: Path, mirrors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    build_eval(out, mirrors=mirrors, progress=False)
    first = (out / "mbpp/queries.jsonl").stat().st_ino
    [kept] = build_eval(out, mirrors=mirrors, progress=False)
    assert (kept.made, kept.queries, kept.documents) == (False, 2, 2)
    assert (out / "mbpp/queries.jsonl").stat().st_ino == first

    more = RECORDS + '{"text": "divide", "code": "a / b"}\n'
    _use(_commit(mirrors / "owner+small", **{"rows.jsonl": more}), monkeypatch)
    [again] = build_eval(out, mirrors=mirrors, progress=False)
    assert (again.made, again.queries) == (True, 3)


def test_a_set_with_a_torn_description_is_made_again(tmp_path: Path, mirrors: Path) -> None:
    build_eval(tmp_path, mirrors=mirrors, progress=False)
    (tmp_path / "mbpp/set.json").write_text('{"task": "nl2')
    assert build_eval(tmp_path, mirrors=mirrors, progress=False)[0].made
    assert read_eval_set(tmp_path / "mbpp").task == "nl2code"


def test_the_same_source_gives_the_same_bytes(tmp_path: Path, mirrors: Path) -> None:
    for out in ("a", "b"):
        build_eval(tmp_path / out, mirrors=mirrors, progress=False)
    for name in ("queries.jsonl", "corpus.jsonl", "qrels/test.tsv", "set.json"):
        assert (tmp_path / "a/mbpp" / name).read_bytes() == (tmp_path / "b/mbpp" / name).read_bytes()


def test_a_source_that_is_laid_out_otherwise_is_named_and_leaves_nothing(
    tmp_path: Path, mirrors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(_commit(mirrors / "owner+small", **{"rows.jsonl": '{"question": "?"}\n'}), monkeypatch)
    with pytest.raises(ValueError, match="source of mbpp is not laid out as expected"):
        build_eval(tmp_path / "out", mirrors=mirrors, progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_set_that_may_not_be_passed_on_says_so(
    tmp_path: Path, mirrors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = _commit(mirrors / "owner+small", **{"rows.jsonl": RECORDS, "more": "x"})
    _use(commit, monkeypatch, licence="LicenseRef-unclear")
    table = summary_table(build_eval(tmp_path / "out", mirrors=mirrors, progress=False))
    assert "do not pass on" in table
    assert json.loads((tmp_path / "out/mbpp/set.json").read_bytes())["redistributable"] is False


def test_a_row_is_another_with_other_places_or_another_reader_but_not_with_other_counts() -> None:
    row = EVAL_SOURCES["mbpp"]
    assert fingerprint(replace(row, queries=1, faithful="Not at all.")) == fingerprint(row)
    assert fingerprint(replace(row, where=EVAL_SOURCES["conala"].where)) != fingerprint(row)
    assert fingerprint(replace(row, read=EVAL_SOURCES["docs_qa"].read)) != fingerprint(row)


@pytest.mark.parametrize("name", EVAL_SOURCES)
def test_what_is_said_of_every_row_can_be_written_down(name: str) -> None:
    said = about(EVAL_SOURCES[name])
    assert json.loads(json.dumps(said)) == said
    assert len({fingerprint(row) for row in EVAL_SOURCES.values()}) == len(EVAL_SOURCES)


def test_an_unknown_set_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'nothing' is no evaluation set"):
        build_eval(tmp_path / "out", ["nothing"])
    assert not (tmp_path / "out").exists()
