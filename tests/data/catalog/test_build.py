import gzip
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from codequarry.data.catalog import build as module
from codequarry.data.catalog.build import about, build_eval, build_train, eval_table, fingerprint, train_table
from codequarry.data.catalog.fetch import UnreachableError
from codequarry.data.catalog.registry import EVAL_SOURCES
from codequarry.data.catalog.schema import Git, Hub, Repository, TrainSource
from codequarry.data.eval_set import read_eval_set
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs


def read_lines(files):
    for path, content in files:
        for line in content.decode().splitlines():
            query, document = line.split("|")
            yield Pair("nl2code", query, document, "own", path.rpartition(".")[2])


FUNCTION = '''def grow_number(value, amount):
    """Add an amount to a value and return what both of them make together."""
    result = value
    for _ in range(amount):
        result += 1
    return result
'''


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two sources of our own in a repository, one repository to mine, and nothing else."""
    mirrors = tmp_path / "mirrors"
    commit = {}
    files = {
        "someone+texts": {"a.py": "add|x + y\nadd|x + y\nsub|x - y\n", "b.js": "log|console.log(x)\n"},
        "someone+code": {"grow.py": FUNCTION, "README.md": "words\n"},
    }
    for name, contents in files.items():
        folder = mirrors / name
        folder.mkdir(parents=True)
        for path, text in contents.items():
            (folder / path).write_text(text)
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "Start"]):
            subprocess.run(["git", "-C", str(folder), *command], check=True)
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
        )
        commit[name] = found.stdout.strip()
    place = Git("someone/texts", commit["someone+texts"])
    rows = {
        "python": TrainSource(
            "python", ("nl2code",), (replace(place, paths=("*.py",)),), "MIT", ("py",), read_lines
        ),
        "script": TrainSource(
            "script", ("nl2code",), (replace(place, paths=("*.js",)),), "CC-BY-SA-4.0", ("js",), read_lines
        ),
        "closed": TrainSource("closed", ("nl2code",), (place,), "CC-BY-NC-4.0", ("py",), read_lines),
    }
    monkeypatch.setattr(module, "TRAIN_SOURCES", rows)
    monkeypatch.setattr(module, "hub_sources", dict)
    repository = Repository("someone/code", commit["someone+code"], "MIT", "python")
    monkeypatch.setattr(module, "mined_repositories", lambda: (repository,))
    return mirrors


def build(world, out, **options):
    return build_train(out, mirrors=world, progress=False, **options)


def test_each_source_and_repository_is_one_file(world, tmp_path):
    built = build(world, tmp_path / "out")
    assert [(one.name, one.pairs, one.repeats) for one in built.built][:2] == [
        ("python", 2, 1),
        ("script", 1, 0),
    ]
    pairs = read_pairs(tmp_path / "out" / "python.jsonl.gz").pairs
    assert [(pair.query, pair.document) for pair in pairs] == [("add", "x + y"), ("sub", "x - y")]
    mined = read_pairs(tmp_path / "out" / "mined" / "someone+code.jsonl.gz").pairs
    assert {pair.source for pair in mined} == {"someone/code"}
    assert {pair.task for pair in mined} >= {"nl2code", "code2nl"}


def test_licences_decide_what_is_left_out_and_the_summary_says_so(world, tmp_path):
    commercial = build(world, tmp_path / "a", mined=False)
    permissive = build(world, tmp_path / "b", mined=False, licences="permissive")
    everything = build(world, tmp_path / "c", mined=False, licences="any")
    assert [one.name for one in commercial.built] == ["python", "script"]
    assert [one.name for one in permissive.built] == ["python"]
    assert [one.name for one in everything.built] == ["python", "script", "closed"]
    assert "left out: script: CC-BY-SA-4.0 is share-alike" in train_table(permissive)
    assert "left out: closed: CC-BY-NC-4.0 does not permit commercial use" in train_table(permissive)
    with pytest.raises(ValueError, match="no choice of licences"):
        build(world, tmp_path / "d", licences="none")
    with pytest.raises(ValueError, match="there are 6 kinds of pair"):
        build(world, tmp_path / "d", max_pairs_per_repository=5)


def test_a_second_run_keeps_what_is_there_and_makes_what_is_missing(world, tmp_path):
    out = tmp_path / "out"
    build(world, out)
    before = (out / "python.jsonl.gz").read_bytes()
    (out / "script.jsonl.gz").unlink()
    again = build(world, out)
    assert [one.name for one in again.built if one.made] == ["script"]
    assert (out / "python.jsonl.gz").read_bytes() == before
    assert "kept" in train_table(again)


def test_another_row_or_limit_is_built_anew(world, tmp_path, monkeypatch):
    out = tmp_path / "out"
    build(world, out)
    row = module.TRAIN_SOURCES["python"]
    changed = replace(row, where=(replace(row.where[0], paths=("*.py", "*.js")),))
    monkeypatch.setattr(module, "TRAIN_SOURCES", {"python": changed})
    again = build(world, out, max_pairs_per_repository=6)
    assert {one.name for one in again.built if one.made} == {"python", "someone/code"}
    assert sum(one.pairs for one in again.built if one.name == "someone/code") <= 6


def test_the_same_row_gives_the_same_bytes(world, tmp_path):
    build(world, tmp_path / "a")
    build(world, tmp_path / "b")
    for name in ("python.jsonl.gz", "mined/someone+code.jsonl.gz", "build.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_file_without_its_record_is_made_again(world, tmp_path):
    out = tmp_path / "out"
    build(world, out, names=["python"])
    (out / "python.jsonl.gz").write_bytes(gzip.compress(b"half a l"))
    (out / "build.json").write_text('{"half')
    assert build(world, out, names=["python"]).built[0].made
    assert len(read_pairs(out / "python.jsonl.gz").pairs) == 2
    assert json.loads((out / "build.json").read_text())["python.jsonl.gz"]["pairs"] == 2


def test_a_repository_that_is_never_mined_stops_before_anything_is_done(world, tmp_path, monkeypatch):
    bad = Repository("tornadoweb/tornado", "0" * 40, "Apache-2.0", "python")
    monkeypatch.setattr(module, "mined_repositories", lambda: (bad,))
    with pytest.raises(ValueError, match="never mined"):
        build(world, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_source_of_such_a_repository_stops_too(world, tmp_path, monkeypatch):
    row = module.TRAIN_SOURCES["python"]
    bad = replace(row, where=(Git("amazon-science/mxeval", "0" * 40, ("*.jsonl",)),))
    monkeypatch.setattr(module, "TRAIN_SOURCES", {"python": row, "bad": replace(bad, name="bad")})
    with pytest.raises(ValueError, match="never mined"):
        build(world, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_repository_without_pairs_is_left_out_and_counted(world, tmp_path, monkeypatch):
    row = module.mined_repositories()[0]
    monkeypatch.setattr(module, "_mined", lambda row, mirrors, most: [])
    built = build(world, tmp_path / "out", names=["python", row.name])
    assert built.left_out == {row.name: "nothing in it passed the filters of mining"}


def test_an_unknown_name_and_a_source_without_pairs_are_sentences(world, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'pyton' is no source of training pairs"):
        build(world, tmp_path / "out", names=["pyton"])
    row = module.TRAIN_SOURCES["python"]
    empty = replace(row, where=(replace(row.where[0], paths=("*.nothing",)),))
    monkeypatch.setattr(module, "TRAIN_SOURCES", {"python": empty})
    with pytest.raises(ValueError, match="python gave no pair"):
        build(world, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.gz"))


def test_a_hub_that_is_away_stops_or_is_counted(world, tmp_path, monkeypatch):
    def away(places, lock):
        raise UnreachableError("some/set could not be read from the Hub.")
        yield

    monkeypatch.setattr(module, "records_of", away)
    on_hub = TrainSource("web", ("nl2code",), (Hub("some/set"),), "MIT", ("py",), read_lines)
    monkeypatch.setattr(module, "hub_sources", lambda: {"web": on_hub})
    with pytest.raises(UnreachableError):
        build(world, tmp_path / "out", names=["web"])
    built = build(world, tmp_path / "out", names=["web", "python"], skip_unreachable=True)
    assert built.left_out == {"web": "some/set could not be read from the Hub."}
    assert [one.name for one in built.built] == ["python"]


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
    for name in ("registry", "build"):
        monkeypatch.setattr(f"codequarry.data.catalog.{name}.EVAL_SOURCES", rows)


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
    table = eval_table(build_eval(tmp_path / "out", mirrors=mirrors, progress=False))
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
