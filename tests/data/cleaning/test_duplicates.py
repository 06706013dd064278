import inspect
import textwrap

from codequarry.data.cleaning.duplicates import EXACT, NEAR, REPEATED, repeated_pairs
from codequarry.data.pair import Pair

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
