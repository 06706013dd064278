import json
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codequarry.common.files import read_regular
from codequarry.search.chunk import KIND_OF_TASK, Kind
from codequarry.search.database import database_path
from codequarry.search.hits import Answers, Hit, Refresh
from codequarry.search.query import NothingToSearch
from codequarry.search.query import search as search_cascade
from codequarry.search.render import as_json, first_line, render
from codequarry.search.vector_store import NAME

Encoder = Any

MakeEncoder = Callable[..., Encoder]
search = partial(search_cascade, exhaustive=True)  # the cascade is in test_cascade.py


@pytest.fixture
def ask(checkout: Path, cache: Path) -> Callable[..., Answers]:
    def ask(model: Encoder, query: str = "parse_date", **options: Any) -> Answers:
        return search(query, checkout, model, cache=cache, progress=False, **options)

    return ask


def contents(database: Path) -> tuple[list[Any], list[Any]]:
    """Chunks and vectors of an index, without the numbers that depend on the order of writing."""
    connection = sqlite3.connect(database)
    chunks = connection.execute("SELECT path, kind, start_line, end_line, title, text, sha256 FROM chunks")
    store = sqlite3.connect(database.with_name(NAME))
    vectors = store.execute(
        "SELECT fingerprint, prefix, dims, precision, sha256, vector FROM vectors JOIN spaces ON space = id"
    )
    both = sorted(chunks.fetchall()), sorted(vectors.fetchall())
    connection.close()
    store.close()
    return both


def test_the_best_hit_of_each_kind_is_what_was_asked_for(ask: Any, encoder: Encoder) -> None:
    best = {
        task: ask(encoder, query, task=task).hits[0]
        for task, query in {
            "nl2code": "def parse_date(text)",
            "code2code": "startServer(port) { listen(port)",
            "code2completion": "def area(self):",
            "code2nl": "Surface inside the circle",
            "qa": "Install: run pip install shapes",
        }.items()
    }
    assert {task: (hit.path, hit.start_line, hit.end_line, hit.kind) for task, hit in best.items()} == {
        "nl2code": ("shapes/dates.py", 4, 6, "code"),
        "code2code": ("web/app.js", 1, 4, "code"),
        "code2completion": ("shapes/circle.py", 14, 16, "code"),
        "code2nl": ("shapes/circle.py", 15, 15, "comment"),
        "qa": ("README.md", 5, 7, "prose"),
    }
    assert best["code2completion"].title == "Circle.area"


def test_scores_and_order_are_those_of_a_plain_loop_over_all_chunks(
    ask: Any, encoder: Encoder, checkout: Path, cache: Path
) -> None:
    answers = ask(encoder, "radius of a circle", top=100)
    query = encoder.encode(["radius of a circle"])[0].astype(np.float64)
    expected = []
    for path, kind, start, _, _, text, _ in contents(database_path(checkout, cache))[0]:
        document = encoder.encode([text])[0].astype(np.float64)
        score = query @ document / np.linalg.norm(query) / np.linalg.norm(document)
        if kind == "code":
            expected.append((round(-score, 5), path, start))
    assert [(round(-h.score, 5), h.path, h.start_line) for h in answers.hits] == sorted(expected)


def test_only_what_changed_is_embedded_again(ask: Any, encoder: Encoder, checkout: Path) -> None:
    first = ask(encoder)
    assert first.refresh.embedded == len(encoder.embedded) == first.refresh.chunks
    encoder.embedded.clear()
    again = ask(encoder)
    assert encoder.embedded == []
    assert again.hits == first.hits
    assert again.refresh.reused == first.refresh.embedded

    file = checkout / "shapes/dates.py"
    file.write_text(file.read_text() + "\n\ndef format_date(date):\n    return date.isoformat()\n")
    changed = ask(encoder, "format_date(date)")
    assert encoder.embedded == ["def format_date(date):\n    return date.isoformat()"]
    assert changed.hits[0].start_line == 9


def test_a_change_of_the_same_size_within_one_tick_of_the_clock_is_seen(
    ask: Any, encoder: Encoder, checkout: Path
) -> None:
    ask(encoder)
    file = checkout / "shapes/dates.py"
    before = file.stat()
    file.write_text(file.read_text().replace("parse_date", "parse_time"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "parse_time" in ask(encoder, "def parse_time(text)").hits[0].text


def test_an_old_file_that_is_only_touched_is_not_cut_again(
    ask: Any, encoder: Encoder, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(encoder)
    for file in checkout.rglob("*.*"):
        os.utime(file, (1e9, 1e9))
    monkeypatch.setattr("codequarry.search.refresh.chunk_file", lambda source: pytest.fail("cut again"))
    ask(encoder)
    for reader in ("search.refresh", "data.parsing.source_files"):
        monkeypatch.setattr(f"codequarry.{reader}.read_regular", lambda *_: pytest.fail("read again"))
    assert ask(encoder).refresh.embedded == 0


def test_a_renamed_file_costs_nothing_and_a_deleted_one_disappears(
    ask: Any, encoder: Encoder, checkout: Path
) -> None:
    ask(encoder)
    encoder.embedded.clear()
    (checkout / "shapes/dates.py").rename(checkout / "shapes/times.py")
    assert ask(encoder, "def parse_date(text)").hits[0].path == "shapes/times.py"
    assert encoder.embedded == []
    (checkout / "shapes/times.py").unlink()
    assert {hit.path for hit in ask(encoder, top=100).hits} == {
        "shapes/circle.py",
        "web/app.js",
        "deploy.sh",
    }


def test_an_index_kept_up_to_date_equals_a_new_one(
    ask: Any, encoder: Encoder, checkout: Path, cache: Path, tmp_path: Path
) -> None:
    ask(encoder)
    (checkout / "web/app.js").unlink()
    (checkout / "lib.py").write_text("def a():\n    return 1\n")
    (checkout / "README.md").write_text("# New\n\nText.\n")
    kept = ask(encoder, top=50)
    new = search("parse_date", checkout, encoder, cache=tmp_path / "new", progress=False, top=50)
    assert kept.hits == new.hits
    (kept_chunks, kept_vectors), (new_chunks, new_vectors) = (
        contents(database_path(checkout, folder)) for folder in (cache, tmp_path / "new")
    )
    assert kept_chunks == new_chunks
    assert set(new_vectors) < set(kept_vectors)  # those of texts that are gone stay: another clone has them


def test_models_and_dimensions_never_share_vectors(
    ask: Any, make_encoder: MakeEncoder, checkout: Path, cache: Path
) -> None:
    models = [make_encoder("one"), make_encoder("two"), make_encoder("one", dims=64)]
    answers = [ask(model) for model in models]
    assert [a.refresh.reused for a in answers] == [0, 0, 0]
    assert [ask(model).hits for model in models] == [a.hits for a in answers]
    assert len({a.hits[0].score for a in answers}) == 3
    spaces = {(row[0], row[2], len(row[5])) for row in contents(database_path(checkout, cache))[1]}
    assert spaces == {("one", 384, 1536), ("two", 384, 1536), ("one", 64, 256)}


def test_tasks_share_vectors_exactly_where_their_document_prefix_is_the_same(
    ask: Any, encoder: Encoder
) -> None:
    embedded = {task: ask(encoder, task=task).refresh.embedded > 0 for task in KIND_OF_TASK}
    assert embedded == {
        "nl2code": True,
        "qa": True,
        "code2code": False,
        "code2nl": True,
        "code2completion": True,
    }


def test_windows_of_one_function_are_one_answer(encoder: Encoder, tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "long"
    root.mkdir()
    body = "".join(f"    total += price_{n}\n\n" for n in range(100))
    (root / "a.py").write_text(
        f"def bill():\n    total = 0\n{body}    return total\n\n\ndef other():\n    pass\n"
    )
    (root / "b.ini").write_text("\n".join(f"total_price_{n} = {n}" for n in range(70)))
    hits = search("total += price", root, encoder, cache=cache, progress=False).hits
    titles = [hit.title for hit in hits if hit.path == "a.py"]
    assert sorted(titles) == ["bill", "other"]
    windows = [(hit.start_line, hit.end_line) for hit in hits if hit.path == "b.ini"]
    assert len(windows) == 1


def test_a_property_and_its_setter_are_two_answers(encoder: Encoder, tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "p"
    root.mkdir()
    (root / "a.py").write_text(
        "class A:\n    @property\n    def x(self):\n        return self._x\n"
        "    @x.setter\n    def x(self, x):\n        self._x = x\n"
    )
    hits = search("def x(self)", root, encoder, cache=cache, progress=False).hits
    assert sorted(hit.start_line for hit in hits) == [1, 2, 5]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"query": " \n"}, "the query is blank"),
        ({"task": "nl2cod"}, "Did you mean 'nl2code'"),
        ({"top": 0}, "top is 0: ask for at least 1"),
    ],
)
def test_a_wrong_argument_is_told_in_a_sentence(
    ask: Any, encoder: Encoder, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        ask(encoder, **options)


def test_a_root_that_cannot_be_searched_is_told_in_a_sentence(
    encoder: Encoder, tmp_path: Path, cache: Path
) -> None:
    def refusal(root: Path, task: str = "nl2code") -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentences are compared below
            search("x", root, encoder, task=task, cache=cache, progress=False)
        return str(caught.value)

    assert "is not there: pass the folder" in refusal(tmp_path / "missing")
    (tmp_path / "file.py").write_text("x = 1\n")
    assert "is a file: pass the folder" in refusal(tmp_path / "file.py")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no file that can be read" in refusal(empty)
    (empty / "image.py").write_bytes(b"\0\1")
    assert "passed over: 1 binary" in refusal(empty)
    (empty / "code.py").write_text("def f():\n    return 1\n")
    assert "task 'qa' searches Markdown" in refusal(empty, "qa")
    assert "the 1 files read" in refusal(empty, "code2nl")


def test_a_file_that_cannot_be_read_is_counted_and_found_once_it_can(
    ask: Any, encoder: Encoder, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, most: int) -> bytes:  # a stand-in for file modes, which do not bind the superuser
        if path.name == "dates.py":
            raise PermissionError(13, "Permission denied", str(path))
        return read_regular(path, most)

    with monkeypatch.context() as patch:
        patch.setattr("codequarry.search.refresh.read_regular", refuse)
        answers = ask(encoder)
        assert answers.refresh.skipped == {"unreadable": 1}
        ((path, reason, detail),) = answers.refresh.left_out
        assert (path, reason) == ("shapes/dates.py", "unreadable")
        assert "Permission denied" in detail
        assert "shapes/dates.py" not in {hit.path for hit in answers.hits}
    assert ask(encoder, "def parse_date(text)").hits[0].path == "shapes/dates.py"


def test_what_was_passed_over_is_told_at_every_search(ask: Any, encoder: Encoder, checkout: Path) -> None:
    (checkout / "blob.py").write_bytes(b"\0")
    (checkout / "broken.py").write_text("def f(:\n")
    wanted = {"binary": 1, "does not parse": 1}
    assert ask(encoder).refresh.skipped == wanted
    assert ask(encoder).refresh.skipped == wanted


def hit(text: str, kind: Kind = "code", path: str = "a.py") -> Hit:
    return Hit(path, 3, 12, 0.51234, "f", text, kind)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("@cache\n@app.route('/')\n\ndef f():\n    pass", "def f():"),
        ("# why\n// and\ndef f():", "def f():"),
        ("/**\n * Adds.\n */\nfunction add() {", "function add() {"),
        ("#include <stdio.h>\nint x;", "#include <stdio.h>"),
        ("#[derive(Debug)]\nstruct S;", "struct S;"),
        ("def f(\n    a,\n    b=1,\n):\n    pass", "def f(a, b=1, ):"),
        ("from __future__ import annotations\n\nimport os", "import os"),
        ("# only a comment", "# only a comment"),
        ("}\nreturn x", "return x"),
    ],
)
def test_the_first_line_is_the_first_that_says_something(text: str, line: str) -> None:
    assert first_line(hit(text)) == line


def test_the_first_line_of_prose_may_be_its_heading() -> None:
    assert first_line(hit("# Install\n\nRun pip.", "prose")) == "# Install"


def test_hits_are_rendered_one_a_line_and_aligned() -> None:
    lines = render([hit("def f():"), hit("x" * 500, path="long/path.py")]).split("\n")
    assert lines[0] == "a.py:3-12           0.512  def f():"
    assert lines[1].startswith("long/path.py:3-12   0.512  xxx")
    assert lines[1].endswith("x…")
    assert len(lines[1]) == 27 + 80
    assert render([]) == ""


def test_json_holds_hits_and_refresh() -> None:
    answers = Answers("q", "qa", (hit("é", "prose"),), Refresh(3, 5, 4, 1, {"binary": 2}, 0.5))
    read = json.loads(as_json(answers))
    assert read["hits"][0] == {
        "path": "a.py",
        "start_line": 3,
        "end_line": 12,
        "score": 0.51234,
        "title": "f",
        "text": "é",
        "kind": "prose",
        "stage": "exhaustive",
    }
    assert read["refresh"]["skipped"] == {"binary": 2}


HIDDEN = {
    "web/app.min.js": "function startMinified(port) { return listen(port) }\n",
    "made.go": "// Code generated by mk. DO NOT EDIT.\npackage a\n\nfunc startMade() { run() }\n",
}


def test_the_user_s_patterns_are_obeyed_by_an_index_that_was_made_with_others(
    ask: Any, encoder: Encoder, checkout: Path
) -> None:
    for path, text in HIDDEN.items():
        (checkout / path).write_text(text)
    plain = {hit.path for hit in ask(encoder, top=100).hits}
    assert not plain & HIDDEN.keys()
    both = {"include": ["*.min.js", "made.go"]}
    assert {hit.path for hit in ask(encoder, top=100, **both).hits} == plain | HIDDEN.keys()
    without = ask(encoder, top=100, include=["made.go"], exclude=["shapes/"])
    assert {hit.path for hit in without.hits} == {"web/app.js", "deploy.sh", "made.go"}
    assert ("shapes/", "excluded", "") in without.refresh.left_out
    assert {hit.path for hit in ask(encoder, top=100).hits} == plain


def test_what_was_left_out_is_named_in_the_answers_and_in_their_json(
    ask: Any, encoder: Encoder, checkout: Path
) -> None:
    for path, text in HIDDEN.items():
        (checkout / path).write_text(text)
    for _ in range(2):  # the second time nothing is read
        answers = ask(encoder)
        named = [("made.go", "generated", ""), ("web/app.min.js", "minified", "")]
        assert list(answers.refresh.left_out) == named
        assert json.loads(as_json(answers))["refresh"]["left_out"] == [
            {"path": path, "reason": reason, "detail": ""} for path, reason, _ in named
        ]


def test_a_file_that_breaks_the_cutting_is_named_and_passed_over(
    ask: Any, encoder: Encoder, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codequarry.search.refresh import chunk_file

    def break_on_markdown(source: Any) -> Any:
        if source.language == "markdown":
            raise ValueError("zip() argument 2 is longer than argument 1")
        return chunk_file(source)

    monkeypatch.setattr("codequarry.search.refresh.chunk_file", break_on_markdown)
    answers = ask(encoder)
    assert answers.hits
    ((path, reason, detail),) = answers.refresh.left_out
    assert (path, reason) == ("README.md", "unreadable")
    assert "ValueError: zip()" in detail


def test_a_folder_with_nothing_to_search_says_which_files_it_has(
    encoder: Encoder, tmp_path: Path, cache: Path
) -> None:
    root = tmp_path / "bundle"
    root.mkdir()
    (root / "a.min.js").write_text("x = 1")
    with pytest.raises(NothingToSearch, match=r"1 minified: a\.min\.js.*--include") as caught:
        search("x", root, encoder, cache=cache, progress=False)
    assert caught.value.left_out == [("a.min.js", "minified", "")]


@pytest.mark.parametrize("query", ["J\udcf6rg", "a\ud83d"])
def test_a_query_that_is_not_unicode_is_refused_before_anything_is_embedded(
    ask: Any, encoder: Encoder, query: str
) -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        ask(encoder, query)
    assert encoder.embedded == []


def test_what_would_steer_a_terminal_is_shown(ask: Any, encoder: Encoder, checkout: Path) -> None:
    (checkout / "\x1b[31mred\u202e.py").write_text(
        'def red(a):\n    return "\x1b]0;owned\x07", "\x9b31m", a\n'
    )
    answers = ask(encoder, "def red(a)", top=1)
    line, text = render(answers.hits), as_json(answers)
    assert "\\x1b[31mred\\u202e.py:1-2" in line
    assert not any(letter in line + text for letter in "\x1b\x07\x9b\u202e")
    assert json.loads(text)["hits"][0]["path"] == answers.hits[0].path
