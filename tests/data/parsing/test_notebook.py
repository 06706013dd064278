"""Notebooks: what a person opens at `path:line` is the line that was found."""

import json

import pytest

from codequarry.data.parsing.parse import read_source
from codequarry.data.parsing.source_files import SourceReport
from codequarry.search.refresh import chunk_file


def cell(kind, *lines, whole=False):
    source = [f"{line}\n" for line in lines[:-1]] + [lines[-1]]
    made = {"cell_type": kind, "metadata": {}, "source": "".join(source) if whole else source}
    outputs = {"execution_count": 1, "outputs": [{"text": ["def printed(): pass"]}]}
    return made | (outputs if kind == "code" else {})


ADD = ("def add(a, b):", '    """Adds two numbers."""', "    return a + b")
CELLS = (
    cell("markdown", "# Sums", "How numbers are added."),
    cell("code", "%matplotlib inline", "!pip install adder", "files = !ls", "", *ADD),
    cell("code", "def broken("),
    cell("code", "%%bash", "function shell() { ls; }"),
    cell("code", "%%time", "class Adder:", "    def run(self):", "        return add(1, 2)"),
)


def read(tmp_path, text):
    (tmp_path / "a.ipynb").write_text(text, encoding="utf-8")
    report = SourceReport()
    return read_source(tmp_path, "a.ipynb", report), report


def notebook(cells=CELLS, language="python", **layout):
    about = {"kernelspec": {"language": language, "name": "x"}}
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4}, **layout)


@pytest.mark.parametrize("indent", [1, 2, 4])
def test_definitions_are_on_the_lines_of_the_file(tmp_path, indent):
    text = notebook(indent=indent)
    source, report = read(tmp_path, text)
    assert (source.language, report.read, report.skipped) == ("python", 1, {})
    assert [one.name for one in source.definitions] == ["add", "Adder", "Adder.run"]
    written = text.split("\n")
    add, adder, run = source.definitions
    for one, first, last in (
        (add, ADD[0], ADD[2]),
        (adder, "class Adder", "add(1, 2)"),
        (run, "def run", "add(1"),
    ):
        assert first in written[one.start_line - 1]
        assert last in written[one.end_line - 1]
    assert ADD[1].strip('" ') in written[add.comment_start_line - 1]
    assert "return a + b" in written[add.body_line - 1]
    assert add.code == "\n".join(ADD)


@pytest.mark.parametrize("text", [notebook(), notebook([cell("code", *ADD, whole=True)], indent=1)])
def test_a_notebook_in_another_layout_is_read_cell_after_cell(tmp_path, text):
    source, _ = read(tmp_path, text)
    add = source.definitions[0]
    assert source.text.split("\n")[add.start_line - 1 : add.end_line] == list(ADD)


def test_a_notebook_of_format_3_is_read(tmp_path):
    old = {"cell_type": "code", "input": [f"{line}\n" for line in ADD], "outputs": []}
    source, _ = read(tmp_path, json.dumps({"worksheets": [{"cells": [old]}], "nbformat": 3}, indent=1))
    assert [one.name for one in source.definitions] == ["add"]


@pytest.mark.parametrize(
    ("language", "source", "read_as", "names"),
    [
        ("R", "f <- function(a) a", "r", []),
        ("C++17", "int f() {\n  return 1;\n}", "cpp", ["f"]),
        ("rust", "fn f() -> i32 {\n    1\n}", "rust", ["f"]),
        ("a language of its own", "f = 1", "jupyter", []),
    ],
)
def test_code_is_in_the_language_of_the_kernel(tmp_path, language, source, read_as, names):
    found, _ = read(tmp_path, notebook([cell("code", *source.split("\n"))], language, indent=1))
    assert (found.language, [one.name for one in found.definitions]) == (read_as, names)
    assert source.split("\n")[0] in found.text


NO_NOTEBOOKS = [notebook(indent=1)[:-40], "[1]", "{}", "[\n" * 50_000, '{"cells":\n' * 20_000]


@pytest.mark.parametrize("text", NO_NOTEBOOKS)
def test_what_is_no_notebook_is_read_by_lines_and_counted(tmp_path, text):
    source, report = read(tmp_path, text)
    assert (source.text, source.language, source.definitions) == (text, "jupyter", ())
    assert report.skipped == {"does not parse": 1}


def test_cells_are_chunks_of_their_kind_and_outputs_are_none(tmp_path):
    source, _ = read(tmp_path, notebook(indent=1))
    chunks = chunk_file(source)
    written = notebook(indent=1).split("\n")
    assert not [chunk for chunk in chunks if "printed" in chunk.text or "cell_type" in chunk.text]
    (prose,) = [chunk for chunk in chunks if chunk.kind == "prose" and "How numbers" in chunk.text]
    assert prose.title == "Sums"
    assert "# Sums" in written[prose.start_line - 1]
    assert {chunk.title for chunk in chunks if chunk.kind == "code"} >= {"add", "Adder.run"}
    assert [chunk.text for chunk in chunks if chunk.kind == "comment"] == ["Adds two numbers."]
    assert not [chunk for chunk in chunks if chunk.kind == "code" and "How numbers" in chunk.text]
