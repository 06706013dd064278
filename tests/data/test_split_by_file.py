import pytest

from codequarry.data.pair import Pair
from codequarry.data.split_by_file import held_out_files, split_by_file

PATHS = [f"src/file_{number}.py" for number in range(2_000)]


def pair(query, document):
    return Pair("nl2code", query, document, "here", "python")


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


def test_nothing_of_the_held_out_side_is_trained_on():
    outside = sorted(held_out_files(PATHS[:10], 0.2))[0]
    inside = sorted(set(PATHS[:10]) - held_out_files(PATHS[:10], 0.2))[0]
    found = [(path, pair(f"about {path}", f"code {path}")) for path in PATHS[:10]]
    found += [
        (outside, pair("Adds one.", "def add(x):\n    return x + 1")),
        (inside, pair("adds  ONE.", "another document")),
        (inside, pair("another query", "def add(x): return x+1")),
        (inside, pair("def add(x):\n\treturn x + 1", "the other way round")),
        (inside, pair("quite another", "pair")),
    ]
    train, heldout, removed = split_by_file(found, 0.2)
    assert removed == 3
    assert len(train) + len(heldout) + removed == len(found)
    blind = {"".join(text.split()).lower() for each in heldout for text in (each.query, each.document)}
    assert not [each for each in train if {"".join(each.query.split()).lower()} & blind]
    assert pair("quite another", "pair") in train


@pytest.mark.parametrize("share", [-0.1, 1, 20])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"holdout is {share}"):
        split_by_file([], share)
