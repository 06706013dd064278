from collections import Counter

import pytest

from codequarry.data.mining.schema import KINDS, MinedPair
from codequarry.data.mining.split import (
    COMMON,
    DUPLICATE,
    LEAK,
    MAX_REPEATS,
    NEAR,
    NEAR_LEAK,
    held_out_files,
    split_pairs,
)
from codequarry.data.mining.split import without_leaks as apart
from codequarry.data.mining.split import without_repeats as unique
from codequarry.data.pair import Pair

PATHS = [f"src/file_{number}.py" for number in range(2_000)]


def found(place, kind="docstring", time=None, source="here"):
    pair = Pair("nl2code", f"about {place} {time}", f"code {place} {time}", source, "python")
    return MinedPair(kind, place, (pair.document,), pair, time)


def test_about_the_share_asked_for_is_held_out():
    assert 0.17 < len(held_out_files(PATHS, 0.2)) / len(PATHS) < 0.23


def test_a_file_keeps_its_side_when_others_come_and_go():
    whole = held_out_files(PATHS, 0.2)
    for some in (PATHS[:500], PATHS[700:], PATHS[::3]):
        assert held_out_files(some, 0.2) == whole & set(some)


@pytest.mark.parametrize("count", range(2, 12))
def test_a_small_tree_still_has_both_sides(count):
    for start in range(50):
        paths = PATHS[start : start + count]
        assert 0 < len(held_out_files(paths, 0.2)) < count
        assert 0 < len(held_out_files(paths, 0.99)) < count


def test_nothing_is_held_out_of_one_file_or_on_demand():
    assert len(held_out_files(PATHS[:1], 0.1)) in (0, 1)
    assert held_out_files(PATHS, 0) == set()


@pytest.mark.parametrize("share", [-0.1, 1, 20])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"holdout is {share}"):
        split_pairs([], share)


def test_a_way_to_split_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'date' is no way to split: pass one of file, time"):
        split_pairs([], 0.2, "date")


def test_all_pairs_of_a_file_and_the_commits_that_change_it_are_on_one_side():
    every = [found(path, kind) for path in PATHS[:40] for kind in ("docstring", "test", "commit")]
    train, heldout = split_pairs(every, 0.3)
    assert len(train) + len(heldout) == len(every)
    assert {one.place for one in train}.isdisjoint(one.place for one in heldout)


def test_by_time_the_newest_share_of_each_source_is_held_out():
    every = [found(path, time=n, source=source) for source in "ab" for n, path in enumerate(PATHS[:50])]
    every += [found(PATHS[n % 7], "commit", time=1_000 + n) for n in range(30)]
    train, heldout = split_pairs(every, 0.2, "time")
    assert sorted((one.pair.source, one.kind, one.time) for one in heldout) == (
        [("a", "docstring", n) for n in range(40, 50)]
        + [("b", "docstring", n) for n in range(40, 50)]
        + [("here", "commit", 1_000 + n) for n in range(24, 30)]
    )
    assert len(train) + len(heldout) == len(every)


def test_by_time_a_file_is_not_divided_and_both_sides_have_something():
    every = [found(PATHS[n], kind, time=5) for n in range(2) for kind in ("docstring", "comment")]
    train, heldout = split_pairs(every, 0.01, "time")
    assert {one.place for one in train} == {PATHS[0]}
    assert {one.place for one in heldout} == {PATHS[1]}
    assert split_pairs(every, 0, "time") == (every, [])


LONG = "def work(a, b):\n" + "\n".join(f"    step_{n} = a.compute(b, {n})" for n in range(20))

CHANGED = LONG.replace("step_3 ", "third ")


def pair_of(query, document, kind="docstring", origin=None):
    pair = Pair(KINDS[kind].task, query, document, "here", "python")
    return MinedPair(kind, "a.py", (origin or document,), pair)


def test_of_pairs_that_say_the_same_the_first_is_kept():
    filtered = Counter()
    pairs = [
        pair_of("Adds one.", "x + 1"),
        pair_of("adds  ONE.", "x+1"),
        pair_of("Adds one.", "x + 1", "comment"),
    ]
    assert unique(pairs, filtered) == [pairs[0], pairs[2]]
    assert +filtered == {DUPLICATE.name: 1}


def test_a_query_that_stands_on_many_documents_describes_none():
    filtered = Counter()
    some = [pair_of("Runs it.", f"code {n}") for n in range(MAX_REPEATS)]
    many = [pair_of("Is called.", f"code {n}") for n in range(MAX_REPEATS + 1)]
    turned = [pair_of(one.pair.document, one.pair.query, "comment") for one in many]
    assert unique([*some, *many, *turned], filtered) == some
    assert filtered[COMMON.name] == len(many) + len(turned)


def test_training_loses_what_occurs_on_the_other_side_blind_to_spaces_and_case():
    filtered = Counter()
    heldout = [pair_of("Adds one.", "def add(x):\n    return x + 1")]
    leaks = [
        pair_of("adds  ONE.", "another document"),
        pair_of("another query", "def add(x): return x+1"),
        pair_of("DEF add(x):\n\treturn x + 1", "the other way round"),
    ]
    rest = [pair_of("quite another", "pair")]
    assert apart([*leaks, *rest], heldout, filtered, progress=False) == (rest, heldout)
    assert +filtered == {LEAK.name: 3}


def test_training_loses_what_nearly_repeats_the_other_side_with_all_that_was_cut_from_it():
    filtered = Counter()
    heldout = [pair_of("Works on it.", LONG)]
    halves = pair_of(CHANGED[:200], CHANGED[200:], "completion", CHANGED)
    train, kept = apart([pair_of("Does more.", CHANGED), halves], heldout, filtered, progress=False)
    assert (train, kept) == ([], heldout)
    assert +filtered == {NEAR_LEAK.name: 2}


def test_of_near_duplicates_on_one_side_the_first_is_kept():
    for train_side in (True, False):
        filtered = Counter()
        pairs = [
            pair_of("Works on it.", LONG),
            pair_of("Does more.", CHANGED),
            pair_of("Is other.", "x + 1"),
        ]
        sides = (pairs, []) if train_side else ([], pairs)
        train, heldout = apart(*sides, filtered, progress=False)
        assert [*train, *heldout] == [pairs[0], pairs[2]]
        assert +filtered == {NEAR.name: 1}


def test_training_loses_a_comment_that_nearly_repeats_a_held_out_one():
    filtered = Counter()
    prose = " ".join(f"word{n}" for n in range(40))
    heldout, train = (
        MinedPair("docstring", "a.py", (code, text), Pair("nl2code", text, code, "here", "python"))
        for text, code in ((prose, LONG), (prose.replace("word7 ", "seven "), "x + 1"))
    )
    assert apart([train], [heldout], filtered, progress=False) == ([], [heldout])
    assert +filtered == {NEAR_LEAK.name: 1}
