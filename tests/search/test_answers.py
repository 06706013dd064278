import json

import pytest

from codequarry.search.answers import Answers, Hit, Refresh, as_json, first_line, render
from codequarry.search.kinds import Kind


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
    }
    assert read["refresh"]["skipped"] == {"binary": 2}
