"""Texts made to hang a parser or to fill the memory: each is read in bounded time and memory."""

import json
import resource
import subprocess
import sys
import textwrap
import time

import pytest

from codequarry.data.parsing import tree_sitter
from codequarry.data.parsing.definitions import plain_comment
from codequarry.data.parsing.parse import parse_source, read_source, statement_lines
from codequarry.data.parsing.source_files import SourceReport

# What stands before and behind the units of a text, and the units: what opens again and again, and closes.
HEADS = {
    "a.js": ("x = ", ""), "a.ts": ("x = ", ""), "a.tsx": ("x = ", ""), "a.py": ("x = ", ""),
    "a.rb": ("x = ", ""), "A.java": ("class A { int f() { return ", "; } }"),
    "a.cs": ("class A { int F() { return ", "; } }"), "a.go": ("package a\nfunc f() { x = ", " }"),
    "a.rs": ("fn f() { ", " }"), "a.php": ("<?php $x = ", ";"), "a.c": ("int f() { return ", "; }"),
    "a.cpp": ("int f() { return ", "; }"), "a.vue": ("<script>x = ", "</script>"), "a.md": ("", ""),
    "a.rst": ("", ""), "a.txt": ("", ""), "a.sh": ("", ""),
}  # fmt: skip
UNITS = [
    ("(", ")"), ("[\n", "]\n"), ("{\n", "}\n"), ("f(", ")"), ("<", ">"), ("(", ""), ("{", ""), ("-", ""),
    ("not ", ""), ("1 + ", ""), ("a.b.", ""), ("a ? ", ": b"), ('"', ""), ("'''", ""), ("`", ""),
    ("/*", ""), ("lambda x: ", ""), ("class A {\n", "}\n"), ("def f():\n", ""),
    ("class A:\n  def f(:\n", ""), ("function f() {}\n", ""), ("// c\n", ""), ("#if a\n", "#endif\n"),
    ("if a: pass\nelif b: pass\n", ""), ("# " + " " * 4_000 + "x\n", ""), ("# a\n", ""), ("x\n", ""),
    ("x\n\n", ""), ("====\n", ""), ("a\n===\n", ""), ("```\n", ""), ("|a|", ""), (" ", ""),
    ("import (\n", ""), ("use a ", ""), ("x,\n", ""), ("<<<<<<< a\n=======\n>>>>>>> b\n", ""), ("{{ ", ""),
    ("{% ", ""), ("class A[T=", ""), ("@a\n", ""), ("<script ", ""), ("<!--", ""), ('\\"""', ""),
    ("private def f; end\n", ""),
]  # fmt: skip
SHORT = [("a.js", 0), ("a.cpp", 2), ("a.py", 0), ("a.py", 7), ("a.py", 9), ("a.py", 13), ("a.py", 20),
         ("a.rb", 3), ("a.md", 24), ("a.rst", 28), ("a.sh", 33), ("a.vue", 41)]  # fmt: skip
SECONDS = (
    30  # of the processor for one text: the budget is a tenth of that, the machine of a test may be slow
)
BYTES = 2 << 30

READ = """
    import sys
    from pathlib import Path
    from codequarry.data.parsing.parse import read_source
    from codequarry.data.parsing.source_files import SourceReport
    from codequarry.search.code_chunks import code_chunks
    from codequarry.search.prose_chunks import PROSE_LANGUAGES, prose_chunks

    root = Path(sys.argv[1])
    for file in sorted(root.iterdir()):
        print(file.name, flush=True)
        source = read_source(root, file.name, SourceReport())
        if source is not None and source.language not in PROSE_LANGUAGES:
            code_chunks(source)
        elif source is not None:
            prose_chunks(source)
    print("done")
"""


def written(path, unit, characters):
    (head, tail), (opening, closing) = HEADS[path], unit
    times = (characters - len(head) - len(tail)) // len(opening + closing)
    return head + opening * times + closing * times + tail


def read_within_limits(folder, files):
    """Every file is read in a process of its own memory; the last one that it names is the one it died of."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS * files, SECONDS * files))

    program = [sys.executable, "-c", textwrap.dedent(READ), str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, preexec_fn=limit)
    assert done.stdout.split()[-1] == "done", (done.returncode, done.stdout[-200:], done.stderr[-500:])


def test_a_text_made_to_hang_is_read_in_bounded_time_and_memory(tmp_path):
    for path, unit in SHORT:
        stem, _, ending = path.partition(".")
        (tmp_path / f"{stem}{unit}.{ending}").write_text(written(path, UNITS[unit], 100_000))
    read_within_limits(tmp_path, 3)


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", HEADS)
def test_every_text_made_to_hang_is_read_in_bounded_time_and_memory(tmp_path, path):
    for number, unit in enumerate(UNITS):
        stem, _, ending = path.partition(".")
        for where, text in (
            ("a", written(path, unit, 900_000)),
            ("b", "\n".join([unit[0].strip("\n")] * 100_000)),
        ):
            (tmp_path / f"{stem}{where}{number}.{ending}").write_text(text[:990_000])
    read_within_limits(tmp_path, 2 * len(UNITS))


def test_a_notebook_made_to_hang_is_read_in_bounded_time_and_memory(tmp_path):
    cell = {"cell_type": "code", "source": ["def f(:\n", "    return 1"]}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell] * 5_000}, indent=1))
    (tmp_path / "b.ipynb").write_text('{"cells": [],\n"x": [\n' + '"source": [\n' * 50_000)
    (tmp_path / "c.ipynb").write_text("[\n" * 300_000)
    read_within_limits(tmp_path, 3)


def test_what_is_over_the_budget_is_read_by_lines_and_counted(tmp_path, monkeypatch):
    (tmp_path / "a.js").write_text("function f() {\n  return 1;\n}\n" * 100)
    (tmp_path / "a.py").write_text("def f():\n    return `1`\n" * 100)
    for path in ("a.js", "a.py"):
        assert len(parse_source(path, (tmp_path / path).read_text())) == 100
    for limit in ("MAX_STEPS", "MAX_SECONDS", "MAX_COPIES"):
        with monkeypatch.context() as patch:
            patch.setattr(tree_sitter, limit, 0)
            patch.setattr(tree_sitter, "MAX_LINE", 0 if limit == "MAX_COPIES" else tree_sitter.MAX_LINE)
            report = SourceReport()
            sources = [read_source(tmp_path, path, report) for path in ("a.js", "a.py")]
            assert [source.definitions for source in sources] == [(), ()]
            assert (report.read, report.skipped["does not parse"]) == (2, 2 if limit != "MAX_COPIES" else 1)


def test_a_parser_that_gave_up_begins_the_next_text_anew(monkeypatch):
    text = "function f() {\n  return 1;\n}\n" * 1_000
    whole = parse_source("a.js", text)
    with monkeypatch.context() as patch:
        patch.setattr(tree_sitter, "MAX_STEPS", 5)
        assert parse_source("a.js", text) == ()
    assert parse_source("a.js", text) == whole


def test_what_is_nested_too_deep_costs_itself():
    deep = "namespace a {\n" * 2_000 + "int deep() {\n  return 1;\n}\n" + "}\n" * 2_000
    assert [one.name for one in parse_source("a.cpp", f"int near() {{\n  return 1;\n}}\n{deep}")] == ["near"]
    assert statement_lines("def f():\n    x = " + "-" * 100_000 + "1\n    return x", "python") == [1, 2]


@pytest.mark.parametrize("line", [" " * 300_000 + "x", "*" * 300_000 + "x", " *" * 150_000, "x" * 300_000])
def test_a_comment_of_one_endless_line_is_read_at_once(line):
    started = time.thread_time()
    for comment in (f"/*\n{line}\n*/", f"/**{line}*/", f"// a \\\n{line}"):
        assert isinstance(plain_comment(comment), str)
    assert time.thread_time() - started < 5
