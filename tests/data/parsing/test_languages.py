"""Each language has a sample file, written so that its comments say what must be found."""

import time
from pathlib import Path

import pytest

from codequarry.data.parsing.languages import LANGUAGES, language_of_text
from codequarry.data.parsing.parse import parse_source, read_tree
from codequarry.data.parsing.source_files import SourceReport

SAMPLES = Path(__file__).parent / "language_samples"


def sample(path):
    """The sample `path`; a .txt on disk, so that no tool takes it for code of ours."""
    return (SAMPLES / f"{path}.txt").read_text(encoding="utf-8")


# Of each sample's definitions kind, name, first word of the first line, comment.
EXPECTED = {
    "a.py": [
        ("function", "add", "@cache", "Adds one."),
        ("class", "Stack", "class", "Last in, first out."),
        ("method", "Stack.top", "@property", "The newest item.\n\nStays where it is: é."),
        ("class", "Stack.Error", "class", ""),
        ("function", "one_line", "async", "Says one."),
    ],
    "a.js": [
        ("function", "add", "export", "Adds one.\n@param x a number"),
        ("function", "twice", "const", ""),
        ("class", "Stack", "class", ""),
        ("method", "Stack.top", "get", "The newest item.\nStays where it is."),
        ("method", "Stack.#hidden", "#hidden", ""),
        ("function", "Old.prototype.grow", "Old.prototype.grow", "A method of old."),
    ],
    "a.ts": [
        ("class", "Box", "@Injectable()", "Holds things."),
        ("method", "Box.open", "@Log()", "Opens it."),
        ("class", "Shape", "interface", ""),
        ("function", "Geometry.area", "export", "Area of a disc."),
    ],
    "a.tsx": [("function", "Name", "export", "Shows a name.")],
    "A.java": [
        ("class", "Box", "@Deprecated", "A box."),
        ("method", "Box.Box", "Box()", "Makes one."),
        ("method", "Box.open", "@Override", "Opens it.\n@return nothing"),
        ("class", "Box.Size", "enum", ""),
        ("method", "Box.Size.cm", "enum", ""),
        ("class", "Box.Lid", "interface", ""),
        ("method", "Box.Lid.weight", "interface", ""),
    ],
    "a.go": [
        ("class", "Box", "type", "Box holds things."),
        ("method", "Box.Open", "func", "Open opens it."),
        ("class", "Lid", "Lid", "Lid covers."),
        ("function", "main", "func", ""),
    ],
    "a.rs": [
        ("class", "Box", "#[derive(Debug)]", "A box."),
        ("method", "Box.open", "#[inline]", "Opens it,\nslowly."),
        ("function", "inside.deep", "mod", ""),
        ("class", "Lid", "trait", ""),
        ("method", "Lid.shut", "trait", ""),
    ],
    "a.c": [
        ("function", "add", "static", "Adds one,\nfast."),
        ("function", "slow", "int", ""),
        ("function", "next", "int", ""),
        ("class", "Point", "typedef", "A point."),
        ("class", "Line", "struct", ""),
    ],
    "a.h": [
        ("class", "Queue", "template", "A queue."),
        ("method", "Queue.Queue", "Queue(int", "Makes one."),
        ("method", "Queue.operator<", "bool", ""),
        ("class", "Queue.Node", "struct", ""),
        ("method", "Queue.size", "int", ""),
        ("function", "plain", "extern", ""),
    ],
    "a.rb": [
        ("class", "Box", "class", "A box."),
        ("method", "Box.open", "def", "Opens it,\nslowly."),
        ("method", "Box.weigh", "private", "Weighs it."),
        ("method", "Box.make", "def", "Makes one."),
        ("method", "Box.<=>", "def", ""),
        ("function", "House.size", "def", ""),
        ("function", "helper", "def", ""),
    ],
    "a.php": [
        ("class", "Box", "#[Thing]", "A box."),
        ("method", "Box.open", "#[Log]", "Opens it."),
        ("method", "Box.shut", "abstract", ""),
        ("class", "Lid", "trait", ""),
        ("method", "Lid.close", "trait", ""),
        ("function", "add", "function", "Adds one."),
        ("function", "twice", "function", ""),
    ],
    "a.cs": [
        ("class", "Box", "[Serializable]", "<summary>A box.</summary>"),
        ("method", "Box.Box", "public", "<summary>Makes one.</summary>"),
        ("method", "Box.Open", "[Log]", "Opens it."),
        ("method", "Box.Show", "void", ""),
        ("class", "Box.ILid", "interface", ""),
        ("method", "Box.ILid.Shut", "interface", ""),
    ],
}


@pytest.mark.parametrize("path", EXPECTED)
def test_every_language_gives_its_definitions_with_their_comments(path):
    text, expected = sample(path), EXPECTED[path]
    found = [
        (one.kind, one.name.removeprefix("a.b."), one.code.split()[0], one.comment)
        for one in parse_source(path, text)
    ]
    assert found == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("path", EXPECTED)
def test_line_numbers_point_at_the_code_and_at_the_comment(path, newline):
    text = sample(path)
    lines = text.split("\n")
    for one in parse_source(path, text.replace("\n", newline)):
        there = lines[one.start_line - 1 : one.end_line]
        indent = len(there[0]) - len(there[0].lstrip())
        assert one.code.split("\n") == [
            line[indent:].rstrip() if line[:indent].isspace() or not indent else line.rstrip()
            for line in there
        ]
        if one.comment:
            written = "\n".join(lines[one.comment_start_line - 1 : one.comment_end_line])
            assert all(line.strip() in written for line in one.comment.split("\n"))
        else:
            assert (one.comment_start_line, one.comment_end_line) == (0, 0)


def test_every_language_with_a_grammar_has_a_fixture_here():
    with_grammar = {language.name for language in LANGUAGES if language.grammar}
    fixtures = {language_of_text(path, sample(path)).name for path in EXPECTED}
    assert fixtures == with_grammar | {"python"}


def test_no_file_ending_belongs_to_two_languages():
    endings = [ending for language in LANGUAGES for ending in (*language.extensions, *language.filenames)]
    assert len(endings) == len(set(endings))


def test_bare_code_of_python_still_compiles_and_says_nothing_of_its_docstring():
    found = {one.name: one for one in parse_source("a.py", sample("a.py"))}
    assert found["Stack.top"].bare_code == "@property\ndef top(self):\n    return self._items[-1]"
    assert found["one_line"].bare_code == 'async def one_line(): return """\nnot indented"""'
    for one in found.values():
        assert not one.comment or one.comment not in one.bare_code
        compile(one.code, one.name, "exec")
        compile(one.bare_code, one.name, "exec")


def test_the_doc_comment_that_opens_a_body_leaves_bare_code_and_speaks_where_none_stands_above():
    (one,) = parse_source("a.js", "function f() {\n  /** Says why. */\n  return 1\n}\n")
    assert (one.comment, one.comment_start_line) == ("Says why.", 2)
    assert one.bare_code == "function f() {\n  return 1\n}"
    (rust,) = [one for one in parse_source("a.rs", sample("a.rs")) if one.name == "Box.open"]
    assert "Inner words" not in rust.bare_code


def test_a_header_is_read_in_the_language_it_is_written_in(tmp_path):
    (tmp_path / "plus.h").write_text(sample("a.h"))
    (tmp_path / "plain.h").write_text(sample("a.c"))
    assert [source.language for source in read_tree(tmp_path, SourceReport())] == ["c", "cpp"]


FIRST_LINES = [
    ("#!/usr/bin/env python3\n", "python"),
    ("#!/usr/bin/python2.7 -u\n", "python"),
    ("#!/bin/sh\n", "shell"),
    ("#! /bin/bash -e\n", "shell"),
    ("#!/usr/bin/env -S deno run --allow-net\n", "typescript"),
    ("#!/usr/bin/env LANG=C perl\n", "perl"),
    ("#!/usr/bin/env node\n", "javascript"),
    ("# -*- mode: ruby; tab-width: 2 -*-\n", "ruby"),
    (";; -*- Emacs-Lisp -*-\n", "lisp"),
    ("// a comment\n// vim: set ft=cpp sw=4 :\n", "cpp"),
    ("x = 1\n" * 50 + "# vim: ft=python\n", "python"),
    ("<?php\necho 1;\n", "php"),
    ('<?xml version="1.0"?>\n<a/>\n', "xml"),
    ("\n<!DOCTYPE html>\n<html></html>\n", "html"),
    ("int f(void) {\n    return g(1);\n}\n", "other"),
    ("Only words stand here,\nand they are for people.\n", "text"),
    ("#!/opt/own/interpreter\nset x = 1;\n", "other"),
    ("", "text"),
]


@pytest.mark.parametrize(("text", "language"), FIRST_LINES)
@pytest.mark.parametrize("name", ["run", "bin/deploy", "page.cgi", "a.unknown"])
def test_a_file_whose_name_says_nothing_goes_by_its_first_lines(name, text, language):
    assert language_of_text(name, text).name == language


@pytest.mark.parametrize(
    ("name", "language"),
    [("Dockerfile.dev", "docker"), ("Makefile", "make"), ("ci/Jenkinsfile", "groovy"), ("BUILD", "starlark"),
     ("CMakeLists.txt", "cmake"), ("README.first", "text"), ("a.F90", "fortran"), ("LICENSE", "text")],
)  # fmt: skip
def test_a_name_that_says_the_language_counts_more_than_the_first_line(name, language):
    assert language_of_text(name, "#!/usr/bin/env python3\n").name == language


def test_blank_lines_in_a_header_take_no_time():
    started = time.perf_counter()
    assert language_of_text("a.h", "\n" * 1_000_000 + "int a;\n").name == "c"
    assert time.perf_counter() - started < 2
