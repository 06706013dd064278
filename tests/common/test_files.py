"""The folder of what is kept."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from codequarry.common.files import (
    cache_folder,
    read_json,
    read_regular,
    share_weights,
    temporary_folder,
    temporary_path,
    text_ids,
    text_sha256,
    write_text,
)


def test_the_environment_decides_and_else_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", "~/kept")
    assert cache_folder("tokens") == Path.home() / "kept/tokens"
    assert cache_folder() == Path.home() / "kept"
    monkeypatch.delenv("CODEQUARRY_CACHE")
    assert cache_folder("tokens").parts[-2:] == ("codequarry", "tokens")


TEXTS = ["", "def f(): ...", "Zuständigkeit 変数 🦀", "half a pair \ud800", "a\r\nb"]


def test_an_id_is_the_first_eight_bytes_of_the_sha256_read_little_endian_with_a_sign() -> None:
    found = text_ids(TEXTS)
    assert found.dtype == np.int64
    for text, number in zip(TEXTS, found, strict=True):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        assert text_sha256(text) == digest
        assert int(number) == int.from_bytes(digest[:8], "little", signed=True)
    assert (found < 0).any(), "else the sign was not tried"


def test_no_texts_give_no_ids() -> None:
    assert text_ids([]).shape == (0,)


def test_a_regular_file_is_read_to_a_bound_and_nothing_else_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_regular(tmp_path / "file", 10) == b"0123456789"
    assert read_regular(tmp_path / "file", 4) == b"01234"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("link", "pipe", "zero", "absent", "."):
        with pytest.raises(OSError):  # noqa: PT011 - each system says it in its own words
            read_regular(tmp_path / name, 10)
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(Path("/dev/zero"), 10)


GONE = 4_000_000  # above the largest number that Linux gives a process


def test_a_json_file_is_read_to_a_bound_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"é": 1}', encoding="utf-8")  # 9 bytes
    assert read_json(file) == read_json(file, 9) == {"é": 1}
    with pytest.raises(ValueError, match="larger than 8 bytes"):
        read_json(file, 8)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="regular"):
        read_json(tmp_path / "pipe", 8)


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_a_living_ones_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.json"
    machine = temporary_path(path).name.rpartition("-")[2]
    killed = tmp_path / f".table.json.{GONE}-{machine}"
    killed.mkdir()
    (killed / "half").write_text("a")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        alive = tmp_path / f".table.json.{other.pid}-{machine}"
        alive.write_text("being written")
        elsewhere = tmp_path / f".table.json.{GONE}-00000000"
        elsewhere.write_text("by another machine")
        unrelated = [
            tmp_path / name for name in (".table.json.bak", f".other.json.{GONE}-{machine}", "table.json.1")
        ]
        for file in unrelated:
            file.write_text("not ours")
        write_text(path, "{}")
        other.kill()
    assert not killed.exists()
    assert alive.exists()
    assert elsewhere.exists()
    assert all(file.exists() for file in unrelated)
    week = time.time() - 7 * 86_400
    os.utime(elsewhere, (week, week))
    write_text(path, "{}")
    assert {file.name for file in tmp_path.iterdir()} == {"table.json", *(file.name for file in unrelated)}


def test_a_link_that_was_left_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years of work")
    path = tmp_path / "table.json"
    machine = temporary_path(path).name.rpartition("-")[2]
    (tmp_path / f".table.json.{GONE}-{machine}").symlink_to(tmp_path / "thesis")
    write_text(path, "{}")
    assert (tmp_path / "thesis" / "chapter").read_text() == "years of work"
    assert not list(tmp_path.glob(".*"))


def test_the_temporary_folder_of_a_killed_process_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = (
        "import os, signal, sys, tempfile\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "from codequarry.common.files import temporary_folder\n"
        "with temporary_folder('mine') as folder:\n"
        "    (folder / 'clone').write_text('large')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program])
    assert len(list(tmp_path.glob("codequarry-mine-*/clone"))) == 1
    with temporary_folder("mine") as mine, temporary_folder("mine") as another:
        assert {mine, another} == {*tmp_path.iterdir()}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mode", "expected"), [(0o755, 0o644), (0o750, 0o640), (0o700, 0o600)])
def test_weights_are_read_by_whoever_enters_their_folder(tmp_path: Path, mode: int, expected: int) -> None:
    weights = tmp_path / "model.safetensors"
    save_file({"row": np.zeros(2)}, weights)
    tmp_path.chmod(mode)
    share_weights(tmp_path)
    assert weights.stat().st_mode & 0o777 == expected
