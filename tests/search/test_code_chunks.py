import random
import textwrap
from pathlib import Path

import pytest

import codequarry
from codequarry.data.parsing.definitions import Definition
from codequarry.data.parsing.parse import SourceFile, parse_source, read_source
from codequarry.data.parsing.source_files import SourceReport, list_sources
from codequarry.search.chunk import Chunk
from codequarry.search.code_chunks import LONGEST, LONGEST_LINE, OVERLAP, WINDOW, code_chunks, has_content
from codequarry.search.prose_chunks import PROSE_LANGUAGES


def chunks_of(path: str, text: str) -> list[Chunk]:
    text = textwrap.dedent(text)
    return code_chunks(SourceFile(path, path.rpartition(".")[2], text, parse_source(path, text)))


def lines_of(chunks: list[Chunk]) -> list[tuple[int, int, str]]:
    return [(chunk.start_line, chunk.end_line, chunk.title) for chunk in chunks]


def assert_every_line_is_covered(source: SourceFile) -> None:
    lines = source.text.split("\n")
    covered: set[int] = set()
    for chunk in code_chunks(source):
        covered.update(range(chunk.start_line, chunk.end_line + 1))
        wanted = textwrap.dedent("\n".join(lines[chunk.start_line - 1 : chunk.end_line]))
        assert chunk.text == wanted.strip("\n")
        assert lines[chunk.start_line - 1].strip()
        assert lines[chunk.end_line - 1].strip()
    missing = [line for n, line in enumerate(lines, start=1) if n not in covered]
    assert not has_content("\n".join(missing)), (source.path, missing)


@pytest.mark.parametrize(
    "text",
    [
        "import os\nfrom a.b import c, d\nfrom x import (\n    y,\n    z,\n)\n\n# a comment",
        "import a from 'a';\nimport { b } from \"b\";\n// why",
        "package com.shop;\nimport java.util.List;",
        "use std::io::{self, Read};\npub use crate::x;",
        "#include <stdio.h>\n}",
        'import (\n\t"fmt"\n)',
    ],
)
def test_a_piece_of_nothing_but_imports_and_comments_is_no_answer(text: str) -> None:
    assert not has_content(text)


@pytest.mark.parametrize(
    "text",
    ["#define LIMIT 10", "import os\nos.exit()", '"""A docstring."""', "#[derive(Debug)]", "important = 1"],
)
def test_a_piece_with_one_line_of_code_or_prose_is_kept(text: str) -> None:
    assert has_content(text)


def test_a_class_is_its_head_and_its_methods() -> None:
    chunks = chunks_of(
        "shape.py",
        '''\
        import math

        class Circle:
            """Round."""

            sides = 0

            @property
            def area(self):
                return math.pi * self.r ** 2

            unit = "m"

            def grow(self):
                self.r += 1
        ''',
    )
    assert lines_of(chunks) == [
        (3, 6, "Circle"),
        (8, 10, "Circle.area"),
        (12, 12, "Circle"),
        (14, 15, "Circle.grow"),
    ]
    assert chunks[1].text.startswith("@property\ndef area(self):\n    return")


def test_the_comment_above_a_function_is_part_of_its_chunk() -> None:
    chunks = chunks_of(
        "add.js", "const one = 1;\n\n// Adds two numbers.\nfunction add(a, b) {\n  return a + b;\n}\n"
    )
    assert lines_of(chunks) == [(1, 1, ""), (3, 6, "add")]


def test_a_closing_brace_is_no_chunk_of_its_own() -> None:
    chunks = chunks_of("A.java", "class A {\n  int x;\n\n  int get() {\n    return x;\n  }\n\n}\n")
    assert lines_of(chunks) == [(1, 2, "A"), (4, 8, "A.get")]


def test_a_long_function_is_cut_at_statements_and_never_in_its_docstring() -> None:
    docstring = "\n".join(f"    line {n}\n" for n in range(12))
    body = "\n".join(f"    if x > {n}:\n        x -= {n}\n        log({n})\n" for n in range(30))
    text = f'def f(x):\n    """Long.\n\n{docstring}\n    """\n{body}    return x\n'
    chunks = chunks_of("f.py", text)
    assert len(chunks) > 1
    assert {chunk.unit_line for chunk in chunks} == {1}
    assert {chunk.title for chunk in chunks} == {"f"}
    assert all(chunk.text.startswith("if x >") for chunk in chunks[1:])
    assert max(chunk.end_line - chunk.start_line + 1 for chunk in chunks) <= LONGEST


def test_without_definitions_windows_of_lines_overlap() -> None:
    text = "\n".join(f"option_{n} = {n}" for n in range(100))
    chunks = code_chunks(SourceFile("settings.ini", "ini", text, ()))
    starts, ends = [c.start_line for c in chunks], [c.end_line for c in chunks]
    assert (starts[0], ends[-1]) == (1, 100)
    assert [end + 1 - OVERLAP for end in ends[:-1]] == starts[1:]
    assert all(end - start < WINDOW for start, end in zip(starts, ends, strict=True))


def test_a_long_table_of_constants_is_one_chunk_that_begins_with_its_name() -> None:
    words = "".join(f'    "word{n}",  # spelt\n    # next\n' for n in range(200))
    table = f"STOP_WORDS = [\n{words}]\n"
    assert lines_of(chunks_of("words.py", f"import re\n\n{table}")) == [(1, 404, "")]
    function = "\n\ndef f():\n    pass\n"
    filler = "".join(f"x{n} = {n}\n\n" for n in range(25))
    starts = [chunk.text.split()[0] for chunk in chunks_of("words.py", filler + table + filler + function)]
    assert [start[:5] for start in starts] == ["x0", "STOP_", "x0", "def"]


def test_blank_files_and_blank_windows_give_no_chunk() -> None:
    assert code_chunks(SourceFile("a.ini", "ini", "\n  \n\n", ())) == []
    text = "a = 1" + "\n" * 200 + "b = 2\n" * 20
    assert [c.text[:5] for c in code_chunks(SourceFile("a.ini", "ini", text, ()))] == ["a = 1", "b = 2"]


def test_every_line_of_this_package_that_has_content_is_in_a_chunk() -> None:
    root = Path(codequarry.__file__).parent
    report = SourceReport()
    sources = [read_source(root, path, report) for path in list_sources(root, report)]
    code = [source for source in sources if source and source.language not in PROSE_LANGUAGES]
    assert len(code) > 20
    for source in code:
        assert_every_line_is_covered(source)


def test_every_line_that_has_content_is_in_a_chunk_wherever_definitions_stand() -> None:
    """Definitions at random lines: nested, touching, and overlapping as no parser should give them."""
    make = random.Random(0)
    for _ in range(300):
        size = make.randint(1, 200)
        lines = [make.choice(["", "  ", "}", "x = 1", "    y", ")"]) for _ in range(size)]
        definitions = []
        for number in range(make.randint(1, 8)):
            start, end = sorted((make.randint(1, size), make.randint(1, size)))
            comment = make.choice(
                [(0, 0), (start, min(start + 3, end)), (max(1, start - 3), max(1, start - 1))]
            )
            definitions.append(
                Definition(f"d{number}", make.choice(["class", "function"]), start, end, "", "", "", *comment)
            )
        text = "\n".join(lines)
        covered: set[int] = set()
        for chunk in code_chunks(SourceFile("a.py", "python", text, tuple(definitions))):
            covered.update(range(chunk.start_line, chunk.end_line + 1))
        missing = [line for n, line in enumerate(lines, start=1) if n not in covered]
        assert not has_content("\n".join(missing))


def test_a_chunk_holds_the_beginning_of_a_very_long_line_and_the_functions_around_it() -> None:
    data = f'const logo = "{"iVBOR" * 10_000}";'
    text = f"function one() {{\n  return 1;\n}}\n\n{data}\n\nfunction two() {{\n  return 2;\n}}\n"
    chunks = chunks_of("a.js", text)
    assert lines_of(chunks) == [(1, 3, "one"), (5, 5, ""), (7, 9, "two")]
    assert chunks[1].text == data[:LONGEST_LINE]


@pytest.mark.parametrize("path", ["a.js", "a.py", "a.sh", "a.lua"])
def test_no_chunk_of_any_language_holds_a_longer_line(path: str) -> None:
    text = "\n".join(["x = 1", "y = " + "1 + " * 20_000 + "1", "z(" + "a, " * 20_000 + ")"])
    lines = [line for chunk in chunks_of(path, text) for line in chunk.text.split("\n")]
    assert max(map(len, lines)) == LONGEST_LINE
    assert "x = 1" in lines
