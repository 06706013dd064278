import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest

from codequarry.data.catalog.fetch import (
    UnreachableError,
    files_of,
    mteb_retrieval,
    read_distribution,
    records_of,
)
from codequarry.data.catalog.schema import Distribution, Git, Hub

needs_datasets = pytest.mark.skipif(
    find_spec("datasets") is None, reason="the Hub is read with an extra: pip install 'codequarry[train]'"
)


@pytest.fixture
def layout(tmp_path):
    """A retrieval set in MTEB's layout, as a folder that `datasets` reads like one on the Hub."""
    folder = tmp_path / "set"
    files = {
        "corpus": [
            {"_id": "d1", "title": "", "text": "def add(a, b): return a + b"},
            {"_id": "d2", "title": "sub", "text": "def sub(a, b): return a - b"},
        ],
        "queries": [{"_id": "q1", "text": "add two numbers"}, {"_id": "q2", "text": "subtract"}],
        "qrels": [
            {"query-id": "q1", "corpus-id": "d1", "score": 1},
            {"query-id": "q2", "corpus-id": "d2", "score": 1},
            {"query-id": "q2", "corpus-id": "d1", "score": 0},
        ],
    }
    folder.mkdir()
    for name, records in files.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    splits = {"corpus": "corpus", "queries": "queries", "qrels": "train"}
    configs = "".join(
        f"- config_name: python-{name}\n  data_files:\n  - split: {split}\n    path: {name}.jsonl\n"
        for name, split in splits.items()
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return tuple(Hub(str(folder), split, f"python-{name}") for name, split in splits.items())


@needs_datasets
def test_records_come_in_order_and_say_where_from(layout, tmp_path):
    records = list(records_of(layout, tmp_path / "lock.json"))
    assert [record["_config"] for record in records] == (
        ["python-corpus"] * 2 + ["python-queries"] * 2 + ["python-qrels"] * 3
    )
    assert records[0]["text"] == "def add(a, b): return a + b"
    assert not (tmp_path / "lock.json").exists()  # a folder has no revision to lock


@needs_datasets
def test_judgements_become_pairs(layout, tmp_path):
    read = mteb_retrieval("nl2code", "own", "mixed")
    pairs = list(read(records_of(layout, tmp_path / "lock.json")))
    assert [(pair.query, pair.document, pair.language) for pair in pairs] == [
        ("add two numbers", "def add(a, b): return a + b", "python"),
        ("subtract", "sub\ndef sub(a, b): return a - b", "python"),
    ]


@needs_datasets
def test_parquet_is_read_by_the_same_code(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["one", "two"]}), tmp_path / "train.parquet")
    records = records_of([Hub(str(tmp_path))], tmp_path / "lock.json")
    assert [record["text"] for record in records] == ["one", "two"]


def with_hub(monkeypatch, revision):
    asked = []

    class Answer:
        sha = revision

    def dataset_info(self, dataset):
        asked.append(dataset)
        return Answer()

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    seen = []

    def load_dataset(dataset, name, split, streaming, revision):
        seen.append((dataset, split, streaming, revision))
        return [{"text": "x"}]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return asked, seen


@needs_datasets
def test_a_revision_nobody_has_seen_is_asked_once_and_written_down(monkeypatch, tmp_path):
    asked, seen = with_hub(monkeypatch, "a" * 40)
    lock = tmp_path / "new" / "lock.json"
    for _ in range(2):
        assert len(list(records_of([Hub("some/set")], lock))) == 1
    assert asked == ["some/set"]
    assert seen == [("some/set", "train", True, "a" * 40)] * 2
    assert json.loads(lock.read_text()) == {"some/set": "a" * 40}
    assert list(lock.parent.iterdir()) == [lock]


@needs_datasets
def test_a_revision_in_the_row_needs_no_lock(monkeypatch, tmp_path):
    asked, seen = with_hub(monkeypatch, "a" * 40)
    list(records_of([Hub("some/set", revision="b" * 40)], tmp_path / "lock.json"))
    assert asked == []
    assert seen[0][3] == "b" * 40


@needs_datasets
@pytest.mark.parametrize("content", ["{", '["a"]', '{"some/set": 3}'])
def test_a_broken_lock_is_a_sentence(monkeypatch, tmp_path, content):
    with_hub(monkeypatch, "a" * 40)
    (tmp_path / "lock.json").write_text(content)
    with pytest.raises(ValueError, match="delete it to lock anew"):
        list(records_of([Hub("some/set")], tmp_path / "lock.json"))


@needs_datasets
def test_a_hub_that_does_not_answer_is_a_sentence(monkeypatch, tmp_path):
    def refuse_connection(self, dataset):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse_connection)
    with pytest.raises(UnreachableError, match=r"some/set could not be read from the Hub \(no route\)"):
        list(records_of([Hub("some/set")], tmp_path / "lock.json"))
    assert not (tmp_path / "lock.json").exists()


FILES = {"small-1.0/src/small.py": b"x = 1\n", "small-1.0/setup.py": b"raise SystemExit('never run')\n"}


@pytest.fixture
def archive() -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("small-1.0/link.py")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return buffer.getvalue()


@pytest.fixture
def place(archive: bytes) -> Distribution:
    return Distribution("small", "1.0", hashlib.sha256(archive).hexdigest())


@pytest.fixture
def folder(tmp_path: Path, archive: bytes) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/small-1.0.tar.gz").write_bytes(archive)
    return tmp_path / "files"


@pytest.fixture
def index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a package index on this machine."""
    monkeypatch.setenv("CODEQUARRY_CACHE", str(folder.parent / "cache"))
    page = folder.parent / "simple/small/index.html"
    page.parent.mkdir(parents=True)
    page.write_text(
        '<!DOCTYPE html><a href="../../files/small-0.9.tar.gz">small-0.9.tar.gz</a>'
        '<a href="../../files/small-1.0.tar.gz#sha256=abc" data-requires-python="&gt;=3.9">1.0</a>'
    )
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder.parent))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *arguments: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


EXPECTED = [
    ("small/setup.py", FILES["small-1.0/setup.py"]),
    ("small/src/small.py", FILES["small-1.0/src/small.py"]),
]


def test_files_of_a_distribution_in_a_folder_come_sorted_without_links(
    folder: Path, place: Distribution
) -> None:
    assert list(read_distribution(place, str(folder))) == EXPECTED


def test_a_distribution_is_found_on_a_package_index_and_kept(
    index: str, folder: Path, place: Distribution
) -> None:
    assert list(read_distribution(place, index)) == EXPECTED
    (folder / "small-1.0.tar.gz").unlink()
    assert list(read_distribution(place, index)) == EXPECTED
    kept = [file.name for file in (folder.parent / "cache/distributions").iterdir()]
    assert kept == [f"{place.sha256[:12]}-small-1.0.tar.gz"]


def test_the_index_that_pip_is_set_to_is_asked(
    index: str, place: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index)
    assert list(read_distribution(place)) == EXPECTED


def test_what_the_index_lacks_is_named(index: str, place: Distribution) -> None:
    with pytest.raises(ValueError, match=r"has no small-2\.0\.tar\.gz"):
        list(read_distribution(replace(place, version="2.0"), index))
    with pytest.raises(ValueError, match=r"could not be read \(HTTP Error 404"):
        list(read_distribution(replace(place, package="other"), index))


def test_another_file_of_the_same_name_is_refused_and_not_kept(
    index: str, folder: Path, place: Distribution
) -> None:
    (folder / "small-1.0.tar.gz").write_bytes(b"something else")
    for where in (str(folder), index):
        with pytest.raises(ValueError, match=r"is not the file the row of small 1\.0 means"):
            list(read_distribution(place, where))
    assert not (folder.parent / "cache").exists()


def test_a_folder_without_the_file_is_named(tmp_path: Path, place: Distribution) -> None:
    with pytest.raises(ValueError, match=r"has no small-1\.0\.tar\.gz"):
        list(read_distribution(place, str(tmp_path)))


def _commit(folder: Path, **files: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "First"]):
        subprocess.run(["git", "-C", folder, *identity, *command], check=True, capture_output=True)
    return subprocess.check_output(["git", "-C", folder, "rev-parse", "HEAD"], text=True).strip()


def test_files_of_several_places_come_with_their_repository_in_front(tmp_path: Path) -> None:
    first = _commit(tmp_path / "owner+first", **{"b.py": "b", "a.py": "a", "c.txt": "c"})
    second = _commit(tmp_path / "second", **{"d.py": "d"})
    where = (Git("owner/first", first, ("/*.py",)), Git("other/second", second))
    assert list(files_of(where, mirrors=tmp_path)) == [
        ("owner/first/a.py", b"a"),
        ("owner/first/b.py", b"b"),
        ("other/second/d.py", b"d"),
    ]


def test_a_data_set_on_the_hub_has_no_files() -> None:
    with pytest.raises(ValueError, match="records, not files"):
        list(files_of([Hub("owner/data")]))
