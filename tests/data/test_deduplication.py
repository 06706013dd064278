"""The oracle is brute force: the true Jaccard similarity of every two texts."""

import ast
import inspect
import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from functools import cache

import pytest

from codequarry.data.deduplication import (
    EXACT,
    NEAR,
    REPEATED,
    Known,
    first_alike,
    normal_form,
    repeated_pairs,
    shingles,
    tokens,
    whole,
    without_comments,
)
from codequarry.data.pair import Pair


@cache
def runs(text: str) -> set[tuple[str, ...]]:
    words = tokens(text)
    if len(words) < 12:
        return {tuple(words)} if words else set()
    return {tuple(words[start : start + 3]) for start in range(len(words) - 2)}


def similarity(one: str, other: str) -> float:
    mine, theirs = runs(one), runs(other)
    return len(mine & theirs) / max(1, len(mine | theirs))


def brute_force(texts: Sequence[str], threshold: float) -> list[int | None]:
    kept: list[int] = []
    found: list[int | None] = []
    for position, text in enumerate(texts):
        near = next((k for k in kept if runs(text) and similarity(texts[k], text) >= threshold), None)
        found.append(near)
        if near is None:
            kept.append(position)
    return found


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Functions of the standard library, and copies of them with some words replaced or lines left out."""
    source = inspect.getsource(textwrap) + "\n" + inspect.getsource(inspect)
    lines = source.splitlines()
    functions = [
        "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    ]
    chance = random.Random(0)
    copies = []
    for function in functions:
        words = function.split(" ")
        for _ in range(chance.choice([0, 1, 2, 5, 20])):
            words[chance.randrange(len(words))] = chance.choice(["x", "value", "0"])
        copies.append(" ".join(words))
    return [*functions, "", " \n", *copies, "x = 1", "x  =\t1", "x = 2"]


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.95])
def test_the_answers_are_those_of_brute_force(texts: list[str], threshold: float) -> None:
    expected = brute_force(texts, threshold)
    found = first_alike(texts, threshold=threshold, progress=False)
    missed = sum(mine != true for mine, true in zip(found, expected, strict=True))
    assert sum(answer is not None for answer in expected) > 50
    assert missed <= len(texts) // 200, "MinHash may miss a pair at the very threshold, not more"
    for text, near in zip(texts, found, strict=True):
        assert near is None or similarity(text, texts[near]) >= threshold, "no false ones"


def test_what_repeats_nothing_is_free_of_near_duplicates(texts: list[str]) -> None:
    found = first_alike(texts, progress=False)
    kept = [text for text, near in zip(texts, found, strict=True) if near is None]
    assert not [near for near in first_alike(kept, progress=False) if near is not None]
    assert all(found[near] is None for near in found if near is not None), "only kept ones are named"


def test_texts_of_one_list_are_found_in_the_other(texts: list[str]) -> None:
    half = len(texts) // 2
    known, asked = texts[:half], texts[half:]
    expected = [
        next((n for n, other in enumerate(known) if runs(text) and similarity(text, other) >= 0.8), None)
        for text in asked
    ]
    found = Known(known, progress=False).alike(asked, progress=False)
    assert sum(mine != true for mine, true in zip(found, expected, strict=True)) <= 1


def test_a_short_text_is_alike_only_to_the_same_tokens() -> None:
    found = first_alike(["list all files", "List  all files", "list all file", ""], progress=False)
    assert found == [None, 0, None, None]
    assert Known(["", " ", "list all files"], progress=False).alike(
        ["LIST all files", " "], progress=False
    ) == [2, None]


def test_nothing_in_gives_nothing_out() -> None:
    assert first_alike([], progress=False) == []
    assert Known([], progress=False).alike(["a"], progress=False) == [None]


@pytest.mark.parametrize("threshold", [0, 1.1, -1])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold is {threshold}: pass a share"):
        first_alike(["a"], threshold=threshold)


def test_case_spaces_and_unicode_forms_make_no_difference() -> None:
    assert tokens("Straße  caf\u0065\u0301 = X;\n") == tokens("STRASSE caf\u00e9=x;") != tokens("cafe")


def test_a_run_has_the_same_number_wherever_it_stands_and_another_one_when_its_order_changes() -> None:
    words = ["a", "b", "c", "d", "e", "a", "b", "c"]
    runs = shingles(words, 3).tolist()
    assert len(runs) == 6
    assert runs[0] == runs[5]
    assert len(set(runs)) == 5
    assert runs[0] not in shingles(["c", "b", "a"], 3).tolist()
    assert len(shingles(words[:2], 3)) == 0
    assert whole(words).tolist() != whole(words[:-1]).tolist()


def test_every_process_computes_the_same_numbers() -> None:
    program = (
        "from codequarry.data.deduplication import *; "
        "print(shingles(tokens('def f(x): return x'), 3).tolist())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{shingles(tokens('def f(x): return x'), 3).tolist()}\n"}


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


WRAP, INDENT = inspect.getsource(textwrap.wrap), inspect.getsource(textwrap.indent)

QUESTION = "wrap a single paragraph of text and return a list of lines of it that are at most this wide"


def pair(query: str, document: str, source: str = "s", task: str = "nl2code") -> Pair:
    return Pair(task, query, document, source, "python")


def reasons(pairs: list[Pair], max_repeats: int = 30) -> list[tuple[str, int] | None]:
    return repeated_pairs(pairs, max_repeats=max_repeats, threshold=0.8, progress=False)


def test_the_same_pair_in_other_spaces_and_case_is_a_duplicate_across_sources_not_across_tasks() -> None:
    found = reasons(
        [
            pair("Wrap text", WRAP),
            pair("wrap  TEXT\n", WRAP.replace("    ", "\t"), "other"),
            pair("Wrap text", WRAP, task="qa"),
            pair(WRAP, "Wrap text"),
        ]
    )
    assert found == [None, (EXACT, 0), None, None]


def test_a_near_duplicate_needs_both_sides_alike() -> None:
    changed = WRAP.replace("width=70", "width=80")
    found = reasons(
        [
            pair(QUESTION, WRAP),
            pair(QUESTION + ".", changed),
            pair("another question", changed),
            pair(QUESTION + "?", INDENT),
            pair(QUESTION, changed, task="qa"),
        ]
    )
    assert found == [None, (NEAR, 0), None, None, None]


def test_a_text_stays_as_often_as_it_may_in_its_source_and_task() -> None:
    same = [pair("Remarks", f"document {n}") for n in range(5)]
    found = reasons([*same, pair("Remarks", "elsewhere", "other")], max_repeats=3)
    assert found == [None, None, None, (REPEATED, 0), (REPEATED, 0), None]
    turned = [pair(f"query {n}", "main()") for n in range(5)]
    assert [one and one[0] for one in reasons(turned, max_repeats=4)] == [None] * 4 + [REPEATED]
