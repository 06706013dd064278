import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from codequarry.data.sources.distributions import read_distribution
from codequarry.data.sources.schema import Distribution

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
