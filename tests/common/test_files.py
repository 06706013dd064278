"""The folder of what is kept."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from codequarry.common.files import cache_folder, read_regular, text_ids, text_sha256


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
