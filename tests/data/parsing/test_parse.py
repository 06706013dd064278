"""Whatever stands in a file, reading goes on."""

import ast
import subprocess
import sys
import textwrap

import pytest

from codequarry.data.parsing.parse import (
    cut_in_two,
    parse_source,
    read_source,
    read_tree,
    statement_lines,
)
from codequarry.data.parsing.source_files import SourceReport


def test_a_docstring_on_the_line_of_its_function_is_cut_out_of_that_line():
    (one,) = parse_source("a.py", 'def größe(): "Say.";  return 1\n')
    assert (one.comment, one.bare_code) == ("Say.", "def größe(): return 1")


def test_a_comment_with_a_blank_line_below_it_is_nobodys():
    for path, mark in (("a.py", "#"), ("a.go", "//")):
        body = "def f(): pass" if path == "a.py" else "func f() {}"
        (one,) = parse_source(path, f"{mark} heading\n\n{body}\n")
        assert one.comment == ""


def test_rules_and_directives_are_no_part_of_a_comment():
    (one,) = parse_source("a.py", "# ------\n# Says it.\n# noqa: E501\ndef f(): pass\n")
    assert one.comment == "Says it."


def test_a_broken_definition_is_left_out_and_its_neighbours_stay():
    text = "int good(void) { return 1; }\nint bad(void) { return ((1; }\nint also(void) { return 2; }\n"
    assert [one.name for one in parse_source("a.c", text)] == ["good", "also"]
    text = "class A {\n  int good() { return 1; }\n  int bad() { return ((1; }\n}\n"
    assert [one.name for one in parse_source("A.java", text)] == ["A.good"]


NASTY = {
    "python 2": ("a.py", "print 'hello'\n"),
    "null byte": ("a.py", "x = 1\0\n"),
    "deep python": ("a.py", "(" * 5_000 + ")" * 5_000),
    "deep c": ("a.c", "{" * 20_000),
    "deep namespaces": ("a.cpp", "namespace a { " * 3_000 + "}" * 3_000),
    "long chain": ("a.py", "if a: pass\n" + "elif b: pass\n" * 3_000),
    "surrogate": ("a.rs", 'fn f() { "\udc80" }'),
    "no words": ("a.java", "@@@@ ((((( {{{{{"),
    "no grammar": ("a.lua", "function f() end"),
    "deep ruby": ("a.rb", "f(" * 5_000),
    "no php": ("a.php", "<b>only a page</b>"),
    "no kind": ("a.bin", "?"),
    "empty": ("a.go", ""),
}


@pytest.mark.parametrize("case", NASTY)
def test_nothing_in_a_text_is_fatal(case):
    assert isinstance(parse_source(*NASTY[case]), tuple)


def test_a_bad_escape_in_someones_string_warns_nobody(recwarn):
    parse_source("a.py", 'def f():\n    return "\\d"\n')
    assert not recwarn.list


def test_a_file_that_does_not_parse_is_read_counted_and_without_definitions(tmp_path):
    (tmp_path / "old.py").write_text("print ((\n")
    (tmp_path / "bad.c").write_text("}} int f( {")
    report = SourceReport()
    read = list(read_tree(tmp_path, report, progress=False))
    assert [(source.path, source.definitions) for source in read] == [("bad.c", ()), ("old.py", ())]
    assert (report.read, report.skipped) == (2, {"does not parse": 2})


def test_text_comes_without_byte_order_mark_and_with_plain_newlines(tmp_path):
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfdef f():\r\n    return 1\r\n")
    source = read_source(tmp_path, "a.py", SourceReport())
    assert source.text == "def f():\n    return 1\n"
    assert source.definitions[0].code == source.text.strip()


def test_a_grammar_is_imported_only_when_its_language_is_met_and_a_missing_one_says_what_to_install():
    program = """
        import sys
        from codequarry.data.parsing.parse import parse_source
        parse_source("a.py", "def f(): pass")
        assert not [name for name in sys.modules if name.startswith("tree_sitter")]
        parse_source("a.go", "package a")
        grammars = {name.partition(".")[0] for name in sys.modules if name.startswith("tree_sitter_")}
        assert grammars == {"tree_sitter_go"}, grammars
        sys.modules["tree_sitter_rust"] = None
        try:
            parse_source("a.rs", "fn f() {}")
        except ImportError as error:
            assert "pip install tree-sitter tree-sitter-rust" in str(error)
        else:
            raise SystemExit("no error")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


PYTHON = '''def f(a):
    text = """
    x = 1
    y = 2
    """
    if a:
        for b in a:
            print(
                b,
            )
    else:
        text = text.strip()
    return text'''


def test_a_cut_is_never_inside_a_string_or_a_call():
    starts = statement_lines(PYTHON, "python")
    assert [PYTHON.split("\n")[row].split()[0] for row in starts] == [
        "text", "if", "for", "print(", "text", "return"
    ]  # fmt: skip


def test_the_halves_are_the_whole_and_the_cut_is_nearest_to_the_middle():
    head, tail = cut_in_two(PYTHON, "python")
    assert f"{head}\n{tail}" == PYTHON
    starts = statement_lines(PYTHON, "python")
    middle = len(PYTHON.split("\n")) / 2
    assert abs(head.count("\n") + 1 - middle) == min(abs(row - middle) for row in starts)


def test_a_function_of_one_long_statement_has_no_cut():
    code = "def f():\n    return [\n" + "        1,\n" * 20 + "    ]"
    ast.parse(code)
    assert cut_in_two(code, "python") is None


def test_a_statement_behind_other_words_of_its_line_is_no_place_to_cut():
    assert statement_lines("def f(a):\n    if a: b()\n    else: c()\n    d()", "python") == [1, 3]
    assert statement_lines("function f(a) {\n  if (a) {\n    b() } else { c() }\n  d()\n}", "javascript") == [
        1,
        2,
        3,
    ]
    assert statement_lines("function f(a) {\n  if (a)\n  { b() }\n  d()\n}", "javascript") == [1, 3]


METHODS = {
    "java": "public <S> int open(S s) {\n{body}  return 1;\n}",
    "typescript": "async open(x: number): Promise<string> {\n{body}  return '';\n}",
    "javascript": "static async *open(x) {\n{body}  return 1;\n}",
    "rust": "pub fn open(&self) -> i32 {\n{body}  1\n}",
    "go": "func (b *Box) Open() error {\n{body}  return nil\n}",
    "cpp": "int open() const override {\n{body}  return 1;\n}",
    "c": "static int open(void) {\n{body}  return 1;\n}",
    "ruby": "def open(key)\n{body}  true\nend",
    "php": "final public function open(int $key): bool\n{\n{body}  return true;\n}",
    "csharp": "protected override async Task<int> Open(int key)\n{\n{body}  return 1;\n}",
}


@pytest.mark.parametrize("language", METHODS)
def test_a_method_alone_is_cut_in_every_language(language):
    code = METHODS[language].replace("{body}", "  call(\n    1\n  );\n" * 5)
    lines = code.split("\n")
    starts = statement_lines(code, language)
    assert [lines[row].strip() for row in starts[:5]] == ["call("] * 5
    assert len(starts) == 6
    head, tail = cut_in_two(code, language)
    assert f"{head}\n{tail}" == code


def test_what_does_not_parse_has_no_cut():
    assert cut_in_two("}} (\n" * 20, "c") is None
    assert cut_in_two("print 'a'\n" * 20, "python") is None
