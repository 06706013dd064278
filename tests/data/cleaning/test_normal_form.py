import pytest

from codequarry.data.cleaning.normal_form import normal_form, without_comments


def test_spaces_case_and_unicode_forms_make_no_difference_words_do() -> None:
    assert normal_form("def f( x ):\n\treturn É") == normal_form("DEF f(x): return E\u0301")
    assert normal_form("a b") != normal_form("ab")
    assert normal_form("x + 1") != normal_form("x + 2")


@pytest.mark.parametrize(
    ("with_comments", "without"),
    [
        ("x = 1  # one\ny = 2", "x = 1\ny = 2"),
        ("int x; // one\n/* two\n lines */ int y;", "int x; int y;"),
        ("SELECT a -- the a\nFROM b", "SELECT a FROM b"),
        ('def f(x):\n    """Say what\n    it does."""\n    return x', "def f(x):\n    return x"),
        ("<p>a</p><!-- b -->", "<p>a</p>"),
    ],
)
def test_copies_that_differ_in_comments_only_are_the_same(with_comments: str, without: str) -> None:
    assert normal_form(without_comments(with_comments)) == normal_form(without)
    assert without_comments(without) == without


@pytest.mark.parametrize(
    "code",
    ['get("http://example.com/#top")', "print('# no comment')", "i--; j", "x#y"],
)
def test_what_only_looks_like_a_comment_stays(code: str) -> None:
    assert without_comments(code) == code
