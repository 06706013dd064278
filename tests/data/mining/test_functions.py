from collections import Counter

import pytest

from codequarry.data.mining.functions import LONG_SIGNATURE, MIN_LINES_TO_CUT, NO_BODY, NO_CUT, pairs_of_file
from codequarry.data.mining.schema import KINDS
from codequarry.data.parsing.parse import SourceFile, read_source
from codequarry.data.parsing.source_files import SourceReport

WORK = """class Case:
    # Works on a case
    # that is hard.
    @cache
    def work(
        self, a
    ):
        b = a + 1
        self.b = b
        return b
"""


def read(tmp_path, name, text) -> SourceFile:
    (tmp_path / name).write_text(text)
    source = read_source(tmp_path, name, SourceReport())
    assert source is not None
    return source


def texts_of(source, *kinds):
    filtered: Counter[str] = Counter()
    found = list(pairs_of_file(source, "project", kinds or tuple(KINDS), filtered))
    return {one.kind: (one.pair.query, one.pair.document) for one in found}, filtered


def test_signature_with_its_comment_and_body_are_the_function(tmp_path):
    source = read(tmp_path, "a.py", WORK)
    texts, _ = texts_of(source)
    signature, body = texts["signature"]
    written = "\n".join(line.removeprefix("    ") for line in WORK.rstrip().split("\n")[1:])
    assert f"{signature}\n{body}" == written
    assert body.startswith("    b = a + 1")


def test_a_docstring_stands_in_the_signature_as_it_is_written(tmp_path):
    docstring = '    """Works on a case.\n\n    Args:\n        a: case.\n    """\n'
    text = f"def work(a):\n{docstring}    b = a\n    b += 1\n    return b\n"
    texts, _ = texts_of(read(tmp_path, "a.py", text))
    assert texts["signature"][0] == text[: text.index("    b = a")].rstrip()
    assert texts["docstring"][0] == "Works on a case."
    assert texts["comment"] == texts["docstring"][::-1]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (NO_BODY, "# Says what it does.\ndef work(\n    a, b\n):\n    return a + b\n"),
        (
            LONG_SIGNATURE,
            "# Says what it does.\n#\n" + "# More words.\n" * 200 + "def f(a):\n    a()\n    b()\n    c()\n",
        ),
        (NO_CUT, "def f():\n    return [\n" + "        1,\n" * MIN_LINES_TO_CUT + "    ]\n"),
    ],
)
def test_what_has_no_two_sides_is_counted(tmp_path, reason, text):
    texts, filtered = texts_of(read(tmp_path, "a.py", text), "signature", "completion")
    assert not texts
    assert filtered[reason.name] == 1


def test_only_kinds_that_are_wanted_are_made_and_counted(tmp_path):
    source = read(
        tmp_path, "a.py", WORK.replace("# Works on a case", "# TODO").replace("# that is hard.", "")
    )
    assert texts_of(source, "completion") == ({}, {f"completion: under {MIN_LINES_TO_CUT} lines": 1})
    assert texts_of(source, "docstring")[1].total() == 1


def test_the_halves_of_a_function_name_the_whole_as_their_origin(tmp_path):
    steps = "\n".join(f"    step_{n} = compute({n})" for n in range(20))
    source = read(tmp_path, "a.py", f"def work():\n{steps}\n    return step_1\n")
    (one,) = pairs_of_file(source, "project", ["completion"], Counter())
    assert one.origins == (source.definitions[0].bare_code,)
    assert f"{one.pair.query}\n{one.pair.document}" == one.origins[0]
