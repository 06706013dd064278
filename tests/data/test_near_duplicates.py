"""The oracle is brute force: the true Jaccard similarity of every two texts."""

import ast
import inspect
import random
import textwrap
from collections.abc import Sequence
from functools import cache

import pytest

from codequarry.data.near_duplicates import Known, alike, first_alike
from codequarry.data.shingles import tokens


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
    found = alike(asked, known, progress=False)
    assert sum(mine != true for mine, true in zip(found, expected, strict=True)) <= 1
    assert found == Known(known, progress=False).alike(asked, progress=False)


def test_a_short_text_is_alike_only_to_the_same_tokens() -> None:
    found = first_alike(["list all files", "List  all files", "list all file", ""], progress=False)
    assert found == [None, 0, None, None]
    assert alike(["LIST all files", " "], ["", " ", "list all files"], progress=False) == [2, None]


def test_nothing_in_gives_nothing_out() -> None:
    assert first_alike([], progress=False) == []
    assert alike(["a"], [], progress=False) == [None]


@pytest.mark.parametrize("threshold", [0, 1.1, -1])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold is {threshold}: pass a share"):
        first_alike(["a"], threshold=threshold)
