from collections import Counter

from codequarry.data.mining.found_pair import FoundPair
from codequarry.data.mining.kinds import KINDS
from codequarry.data.mining.repeats import COMMON, DUPLICATE, LEAK, MAX_REPEATS, NEAR, NEAR_LEAK
from codequarry.data.mining.repeats import without_leaks as apart
from codequarry.data.mining.repeats import without_repeats as unique
from codequarry.data.pair import Pair

LONG = "def work(a, b):\n" + "\n".join(f"    step_{n} = a.compute(b, {n})" for n in range(20))
CHANGED = LONG.replace("step_3 ", "third ")


def found(query, document, kind="docstring", origin=None):
    pair = Pair(KINDS[kind].task, query, document, "here", "python")
    return FoundPair(kind, "a.py", (origin or document,), pair)


def test_of_pairs_that_say_the_same_the_first_is_kept():
    filtered = Counter()
    pairs = [found("Adds one.", "x + 1"), found("adds  ONE.", "x+1"), found("Adds one.", "x + 1", "comment")]
    assert unique(pairs, filtered) == [pairs[0], pairs[2]]
    assert +filtered == {DUPLICATE.name: 1}


def test_a_query_that_stands_on_many_documents_describes_none():
    filtered = Counter()
    some = [found("Runs it.", f"code {n}") for n in range(MAX_REPEATS)]
    many = [found("Is called.", f"code {n}") for n in range(MAX_REPEATS + 1)]
    turned = [found(one.pair.document, one.pair.query, "comment") for one in many]
    assert unique([*some, *many, *turned], filtered) == some
    assert filtered[COMMON.name] == len(many) + len(turned)


def test_training_loses_what_occurs_on_the_other_side_blind_to_spaces_and_case():
    filtered = Counter()
    heldout = [found("Adds one.", "def add(x):\n    return x + 1")]
    leaks = [
        found("adds  ONE.", "another document"),
        found("another query", "def add(x): return x+1"),
        found("DEF add(x):\n\treturn x + 1", "the other way round"),
    ]
    rest = [found("quite another", "pair")]
    assert apart([*leaks, *rest], heldout, filtered, progress=False) == (rest, heldout)
    assert +filtered == {LEAK.name: 3}


def test_training_loses_what_nearly_repeats_the_other_side_with_all_that_was_cut_from_it():
    filtered = Counter()
    heldout = [found("Works on it.", LONG)]
    halves = found(CHANGED[:200], CHANGED[200:], "completion", CHANGED)
    train, kept = apart([found("Does more.", CHANGED), halves], heldout, filtered, progress=False)
    assert (train, kept) == ([], heldout)
    assert +filtered == {NEAR_LEAK.name: 2}


def test_of_near_duplicates_on_one_side_the_first_is_kept():
    for train_side in (True, False):
        filtered = Counter()
        pairs = [found("Works on it.", LONG), found("Does more.", CHANGED), found("Is other.", "x + 1")]
        sides = (pairs, []) if train_side else ([], pairs)
        train, heldout = apart(*sides, filtered, progress=False)
        assert [*train, *heldout] == [pairs[0], pairs[2]]
        assert +filtered == {NEAR.name: 1}


def test_training_loses_a_comment_that_nearly_repeats_a_held_out_one():
    filtered = Counter()
    prose = " ".join(f"word{n}" for n in range(40))
    heldout, train = (
        FoundPair("docstring", "a.py", (code, text), Pair("nl2code", text, code, "here", "python"))
        for text, code in ((prose, LONG), (prose.replace("word7 ", "seven "), "x + 1"))
    )
    assert apart([train], [heldout], filtered, progress=False) == ([], [heldout])
    assert +filtered == {NEAR_LEAK.name: 1}
