"""Whole source trees that strangers wrote: each of their files is read or named, and nothing ends a run."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from codequarry.data.mining.mine import mine
from codequarry.data.parsing.source_report import NOT_PARSED, LeftOut
from codequarry.search.database import database_path, open_database
from codequarry.search.refresh import read_changes

DISTRIBUTIONS = {
    "chardet==5.2.0": "1b3b6ff479a8c414bc3fa2c0852995695c4a026dcd6d0633b2dd092ca39c1cf7",
    "docutils==0.21.2": "3a6b18732edf182daa3cd12775bbb338cf5691468f91eeeb109deff6ebfa986f",
    "jinja2==3.1.4": "4a3aee7acbbe7303aede8e9648d13b8bf88a429282aa6122a993f0ac800cb369",
    "pygments==2.18.0": "786ff802f32e91311bff3889f6e9a86e81505fe99f2735bb6d60ae0c5004f199",
    "sphinx==8.1.3": "43c1911eecb0d3e161ad78611bc905d1ad0e523e4ddc202a58a821773dc4c927",
    "tornado==6.4.2": "92bad5b4746e9879fd7bf1eb21dce4e3fc5128d71601f80005afa39237ad620b",
}
_LINE_END = re.compile(rb"\r\n|\r|\n")
UNCOUNTED = {"__pycache__", ".git", ".pytest_cache"}


def every_file(root: Path) -> set[str]:
    found = set()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in UNCOUNTED]
        found |= {(Path(folder) / name).relative_to(root).as_posix() for name in files}
    return found


def is_named(path: str, left_out: set[str]) -> bool:
    parts = path.split("/")
    return path in left_out or any(
        "/".join(parts[:depth]) + "/" in left_out for depth in range(1, len(parts))
    )


def names(left_out: list[LeftOut]) -> set[str]:
    assert not [one for one in left_out if one.reason == "unreadable"]
    return {one.path for one in left_out if one.reason != NOT_PARSED}


def check_that_every_file_is_read_or_named(root: Path, cache: Path) -> None:
    expected = every_file(root)
    with open_database(database_path(root, cache), root) as connection:
        left_out = names(read_changes(connection, root, progress=False).left_out)
        read = {
            path
            for (path,) in connection.execute(
                "SELECT path FROM files WHERE skipped IN ('', ?)", (NOT_PARSED,)
            )
        }
        in_chunks = connection.execute(
            "SELECT DISTINCT path, MAX(end_line), MIN(start_line) FROM chunks GROUP BY path"
        )
        for path, last, first in in_chunks.fetchall():
            assert path in read
            assert 1 <= first <= last <= len(_LINE_END.split((root / path).read_bytes())), path
        assert read
    assert not read & left_out
    lost = {path for path in expected - read if not is_named(path, left_out)}
    assert not lost

    mined = mine([root], workers=1, progress=False)
    named = names(mined.files.left_out)
    silent = {path for path in expected if not is_named(path, named)}
    assert mined.files.read == len(silent)
    assert mined.files.read > 0


def test_an_installed_package_is_indexed_and_mined_whole(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("sentence_transformers")
    assert spec is not None
    assert spec.submodule_search_locations
    check_that_every_file_is_read_or_named(Path(spec.submodule_search_locations[0]), tmp_path)


@pytest.mark.exhaustive
def test_the_standard_library_is_indexed_and_mined_whole(tmp_path: Path) -> None:
    check_that_every_file_is_read_or_named(Path(sysconfig.get_paths()["stdlib"]), tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_source_distribution_is_indexed_and_mined_whole(tmp_path: Path, distribution: str) -> None:
    pinned = tmp_path / "requirements.txt"
    pinned.write_text(f"{distribution} --hash=sha256:{DISTRIBUTIONS[distribution]}\n")
    name = distribution.partition("=")[0]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--no-binary",
        name,
    ]
    told = subprocess.run(
        [*command, "--dest", str(tmp_path), "--requirement", str(pinned)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    if told.returncode and "HASH" in told.stderr.upper() and "mismatch" in told.stderr.lower():
        pytest.fail(told.stderr)
    if told.returncode:
        pytest.skip(f"no package index gives {distribution}: {told.stderr.strip().splitlines()[-1:]}")
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "tree", filter="data")
    (root,) = (tmp_path / "tree").iterdir()
    check_that_every_file_is_read_or_named(root, tmp_path)
