import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from codequarry.search.database import SCHEMA_VERSION, database_path, open_database
from codequarry.search.hits import Answers
from codequarry.search.query import search as search_cascade
from codequarry.search.vector_store import NAME

search = partial(search_cascade, exhaustive=True)

CONFTEST = Path(__file__).with_name("conftest.py")

SLOW_SEARCH = """
import runpy, sys
from pathlib import Path
from codequarry.search.query import search
encoder = runpy.run_path(sys.argv[1])["FakeEncoder"](delay=float(sys.argv[4]))
root, cache = Path(sys.argv[2]), Path(sys.argv[3])
answers = search("def f_7_7(x): return x * 7", root, encoder, cache=cache, progress=False, exhaustive=True)
print(answers.hits[0].title, answers.refresh.embedded)
"""


@pytest.fixture
def ask(checkout: Path, cache: Path, encoder: Any) -> Callable[[], Answers]:
    return lambda: search("parse_date", checkout, encoder, cache=cache, progress=False)


@pytest.fixture
def big_checkout(tmp_path: Path) -> Path:
    root = tmp_path / "big"
    root.mkdir()
    for number in range(40):
        functions = "\n\n".join(f"def f_{number}_{n}(x):\n    return x * {n}\n" for n in range(10))
        (root / f"module_{number}.py").write_text(functions)
    return root


def slow_search(root: Path, cache: Path, delay: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SLOW_SEARCH, str(CONFTEST), str(root), str(cache), str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def vectors_in(database: Path) -> dict[bytes, bytes]:
    connection = sqlite3.connect(database.with_name(NAME))
    rows = connection.execute("SELECT sha256, vector FROM vectors").fetchall()
    connection.close()
    return dict(rows)


def wait_for_vectors(database: Path, wanted: int) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            found = len(vectors_in(database)) if database.with_name(NAME).exists() else 0
        except sqlite3.OperationalError:  # its tables are being made
            found = 0
        if found >= wanted:
            return found
        time.sleep(0.01)
    raise AssertionError("no vectors were written")


def test_after_a_kill_the_next_run_goes_on_and_ends_with_the_same_index(
    big_checkout: Path, cache: Path, tmp_path: Path
) -> None:
    database = database_path(big_checkout, cache)
    for wanted in (1, 65):
        killed = slow_search(big_checkout, cache, delay=0.005)
        wait_for_vectors(database, wanted)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
    kept = len(vectors_in(database))
    assert 64 <= kept < 400
    out, err = slow_search(big_checkout, cache, delay=0).communicate()
    assert out.split() == ["f_7_7", str(400 - kept)], err
    slow_search(big_checkout, tmp_path / "new", delay=0).communicate()
    assert vectors_in(database) == vectors_in(database_path(big_checkout, tmp_path / "new"))


def test_a_kill_at_any_moment_leaves_an_index_that_is_read(big_checkout: Path, cache: Path) -> None:
    for after in (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6):
        killed = slow_search(big_checkout, cache, delay=0.001)
        time.sleep(after)
        killed.kill()
        killed.communicate()
    out, err = slow_search(big_checkout, cache, delay=0).communicate()
    assert out.startswith("f_7_7"), err
    assert "damaged" not in err
    assert len(vectors_in(database_path(big_checkout, cache))) == 400


def test_two_processes_that_index_at_once_both_answer(big_checkout: Path, cache: Path) -> None:
    both = [slow_search(big_checkout, cache, delay=0.001) for _ in range(2)]
    results = [process.communicate() for process in both]
    assert [out.split()[:1] for out, _ in results] == [["f_7_7"], ["f_7_7"]], results
    assert len(vectors_in(database_path(big_checkout, cache))) == 400


def test_processes_that_make_the_same_index_at_the_same_moment_all_get_it(tmp_path: Path) -> None:
    for attempt in range(10):
        path, barrier, opened = tmp_path / f"{attempt}.sqlite", threading.Barrier(6), []

        def make(path: Path = path, barrier: Any = barrier, opened: list[int] = opened) -> None:
            barrier.wait()
            with open_database(path, tmp_path) as connection:
                opened.append(connection.execute("SELECT COUNT(*) FROM meta").fetchone()[0])

        threads = [threading.Thread(target=make) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert opened == [1] * 6


def test_a_search_waits_while_another_process_writes(ask: Any, checkout: Path, cache: Path) -> None:
    ask()
    other = sqlite3.connect(database_path(checkout, cache), check_same_thread=False, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
    timer.start()
    started = time.monotonic()
    assert ask().hits
    assert time.monotonic() - started > 0.4
    timer.join()
    other.close()


def test_another_process_that_never_ends_writing_is_told_in_a_sentence(
    ask: Any, checkout: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask()
    other = sqlite3.connect(database_path(checkout, cache), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("codequarry.search.sqlite_file.WAIT", 0.1)
    with pytest.raises(ValueError, match="another process has been writing"):
        ask()
    other.close()


def spoil_vector(store: Path, vector: bytes) -> None:
    connection = sqlite3.connect(store)
    connection.execute("UPDATE vectors SET vector = ? WHERE rowid = 1", (vector,))
    connection.commit()
    connection.close()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "no-sqlite": lambda file: file.write_bytes(b"not a database, but long enough to look like one" * 100),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:5000]),
    "last-page-gone": lambda file: file.write_bytes(file.read_bytes()[:-4096]),
    "overwritten": lambda file: file.write_bytes(
        file.read_bytes()[:4096] + b"\xff" * (file.stat().st_size - 4096)
    ),
}
WRONG_VECTORS = {"short": b"\0" * 12, "zero": b"\0" * 1536, "nan": b"\xff" * 1536}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_set_aside_with_a_sentence_and_made_again_and_vectors_stay(
    damage: str, ask: Any, checkout: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = ask()
    database = database_path(checkout, cache)
    DAMAGES[damage](database)
    with caplog.at_level(logging.WARNING):
        answers = ask()
    assert answers.hits == first.hits
    assert answers.refresh.reused == first.refresh.embedded
    assert "was damaged" in caplog.text
    assert database.with_name(f"{database.name}.damaged").exists()


@pytest.mark.parametrize("damage", [*DAMAGES, *WRONG_VECTORS])
def test_a_damaged_store_is_set_aside_with_a_sentence_and_vectors_are_made_again(
    damage: str, ask: Any, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hits = ask().hits
    store = cache / NAME
    DAMAGES[damage](store) if damage in DAMAGES else spoil_vector(store, WRONG_VECTORS[damage])
    with caplog.at_level(logging.WARNING):
        answers = ask()
    assert answers.hits == hits
    assert answers.refresh.reused == 0
    assert "was damaged" in caplog.text
    assert store.with_name(f"{NAME}.damaged").exists()
    assert ask().refresh.embedded == 0


def test_an_empty_file_in_place_of_the_index_is_filled(ask: Any, checkout: Path, cache: Path) -> None:
    hits = ask().hits
    database_path(checkout, cache).write_bytes(b"")
    assert ask().hits == hits


def test_an_index_of_another_version_is_made_again_with_a_sentence(
    ask: Any, checkout: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hits = ask().hits
    connection = sqlite3.connect(database_path(checkout, cache))
    connection.execute("ALTER TABLE chunks RENAME COLUMN title TO name")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.commit()
    connection.close()
    with caplog.at_level(logging.WARNING):
        assert ask().hits == hits
    assert f"is of format {SCHEMA_VERSION + 1}: it is made again" in caplog.text


@pytest.mark.parametrize("version", [1, 2])
def test_the_vectors_of_an_index_of_an_older_version_move_to_the_store(
    version: int, ask: Any, checkout: Path, cache: Path, encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hits = ask().hits
    encoder.embedded.clear()
    connection = sqlite3.connect(database_path(checkout, cache))  # made to look as older versions left it
    connection.execute("ATTACH ? AS store", (str(cache / NAME),))
    connection.execute("DELETE FROM main.spaces")
    connection.execute("INSERT INTO main.spaces SELECT * FROM store.spaces")
    connection.execute("CREATE TABLE main.vectors AS SELECT space, sha256, vector FROM store.vectors")
    connection.execute("DROP TABLE main.features")
    connection.execute("ALTER TABLE meta DROP COLUMN changes")
    connection.execute(f"PRAGMA main.user_version = {version}")
    connection.commit()
    connection.close()
    (cache / NAME).unlink()
    with caplog.at_level(logging.WARNING):
        assert ask().hits == hits
    assert encoder.embedded == []
    assert f"is of format {version}: files are read again, vectors are kept" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_only_the_user_can_read_an_index(ask: Any, checkout: Path, cache: Path) -> None:
    ask()
    database = database_path(checkout, cache)
    assert database.stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700
    database.chmod(0o644)  # as older versions made it
    ask()
    assert database.stat().st_mode & 0o777 == 0o600


def test_an_index_of_another_checkout_is_never_read(
    ask: Any, encoder: Any, checkout: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask()
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_text("x = 1\n")
    database_path(checkout, cache).rename(database_path(other, cache))
    with caplog.at_level(logging.WARNING):
        answers = search("x", other, encoder, cache=cache, progress=False)
    assert {hit.path for hit in answers.hits} == {"a.py"}
    assert "is of another checkout" in caplog.text


def test_a_cache_that_cannot_be_written_is_told_in_a_sentence(
    encoder: Any, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"cannot be written: .*CODEQUARRY_CACHE"):
        search("x", checkout, encoder, cache=tmp_path / "file" / "cache", progress=False)


def test_a_full_disk_as_user_error_in_a_sentence_and_loses_nothing(
    ask: Any, checkout: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "long.py").write_text("\n\n".join(f"def f{n}():\n    return {'1' * n}\n" for n in range(200)))
    connect = sqlite3.connect

    def connect_to_small_disk(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 14")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_to_small_disk)
        with pytest.raises(ValueError, match=r"disk is full.*Free some space"):
            ask()
    assert ask().hits


def test_the_cache_folder_is_that_of_the_environment(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "mine"))
    path = database_path(checkout)
    assert path.parent == tmp_path / "mine"
    assert path == database_path(checkout / "shapes" / "..")
    assert path != database_path(checkout / "shapes")
