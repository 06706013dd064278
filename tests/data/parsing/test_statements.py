import ast

import pytest

from codequarry.data.parsing.statements import cut_in_two, statement_lines

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
