"""Processes that are killed while they make or update an index: no file is half there, nothing is lost."""

import multiprocessing
import random
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from codequarry.search.database import database_path
from codequarry.search.query import Searcher, search

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")

KILLS = 20


def write_files(root: Path, version: int) -> None:
    root.mkdir(exist_ok=True)
    for number in range(60):
        functions = (
            f"def f_{number}_{n}(x):\n    return x * {n + version * (number % 3 == 0)}\n" for n in range(6)
        )
        (root / f"module_{number}.py").write_text("\n\n".join(functions))


def chunks_by_file(database: Path) -> dict[str, list[Any]]:
    """The chunks of each file that the index has on record."""
    connection = sqlite3.connect(database)
    rows = connection.execute(
        "SELECT files.path, files.sha256, text FROM files LEFT JOIN chunks ON files.path = chunks.path"
    ).fetchall()
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    found: dict[str, list[Any]] = {}
    for path, sha256, text in sorted(rows):
        found.setdefault(path, []).append((sha256, text))
    return found


def ask(root: Path, cache: Path) -> None:
    search("return x * 5", root, "pico", cache=cache, progress=False)


def test_twenty_kills_while_an_index_is_made_and_updated_lose_nothing(tmp_path: Path) -> None:
    """The killed processes are forked from one that has imported everything, so that each costs little."""
    root, cache, moments = tmp_path / "code", tmp_path / "cache", random.Random(0)
    whole: dict[int, dict[str, list[Any]]] = {}
    seconds = 0.0
    for version in (0, 1):  # what an index without kills holds
        write_files(root, version)
        own = tmp_path / f"fresh-{version}"
        began = time.monotonic()
        ask(root, own)
        seconds = time.monotonic() - began
        whole[version] = chunks_by_file(database_path(root, own))
    process = multiprocessing.get_context("fork")
    database = database_path(root, cache)
    version = killed = 0
    while killed < KILLS:
        write_files(root, version)
        child = process.Process(target=ask, args=(root, cache))
        child.start()
        child.join(moments.uniform(0.0, seconds))
        is_killed = child.is_alive()
        child.kill()
        child.join()
        if is_killed:
            killed += 1
        else:  # it was done before its moment came: the next ones are killed while the index changes
            assert child.exitcode == 0
            version = 1 - version
        if database.exists() and database.stat().st_size:
            try:
                found = chunks_by_file(database)
            except sqlite3.OperationalError:  # killed before its tables were there
                continue
            for path, chunks in found.items():
                assert chunks in (whole[0][path], whole[1][path]), path
    write_files(root, 1)
    answers = search("return x * 5", root, "pico", cache=cache, progress=False)
    fresh = search("return x * 5", root, "pico", cache=tmp_path / "fresh-1", progress=False)
    assert answers.hits == fresh.hits
    assert chunks_by_file(database) == whole[1]
    assert not list(cache.glob("*.damaged"))


def test_a_reader_sees_a_whole_index_while_another_process_updates_it(tmp_path: Path) -> None:
    root, cache = tmp_path / "code", tmp_path / "cache"
    write_files(root, 0)
    ask(root, cache)
    searcher = Searcher(root, "pico", cache=cache, progress=False)
    before = searcher.search("return x * 5", top=1000).hits
    write_files(root, 1)
    writer = multiprocessing.get_context("fork").Process(target=ask, args=(root, cache))
    writer.start()
    counts = set()
    while writer.is_alive():
        counts.add(len(searcher.search("return x * 5", top=1000, refresh=False).hits))
    writer.join()
    assert writer.exitcode == 0
    assert counts <= {len(before)}  # as many functions in every moment between
