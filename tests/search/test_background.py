import os
import time
from pathlib import Path

import pytest

from codequarry.search import background
from codequarry.search.query import Searcher


def test_what_a_search_left_is_embedded_in_the_background(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    searcher = Searcher(checkout, "mini", candidates=1, progress=False)
    first = searcher.search("parse a date").refresh
    assert first.embedded == 1
    process = background.start(checkout, "mini", "nl2code")
    assert process is not None
    assert background.start(checkout, "mini", "nl2code") is None  # one at a time
    _, status = os.waitpid(process, 0)
    assert status == 0
    assert searcher.embed_rest() == 0
    again = background.start(checkout, "mini", "nl2code")
    assert again is not None
    os.waitpid(again, 0)


def test_a_mark_that_a_killed_process_left_is_no_obstacle(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    background._mark(checkout).write_text("no number")
    process = background.start(checkout, "mini", "nl2code")
    assert process is not None
    time.sleep(0.1)
    os.waitpid(process, 0)
