"""The folder of what is kept."""

from pathlib import Path

import pytest

from codequarry.modules.cache_folder import cache_folder


def test_the_environment_decides_and_else_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", "~/kept")
    assert cache_folder("tokens") == Path.home() / "kept/tokens"
    assert cache_folder() == Path.home() / "kept"
    monkeypatch.delenv("CODEQUARRY_CACHE")
    assert cache_folder("tokens").parts[-2:] == ("codequarry", "tokens")
