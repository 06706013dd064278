from pathlib import Path

import pytest

from codequarry.data.pair import Pair
from codequarry.data.pair_files import PairError, fingerprint, write_pairs
from codequarry.data.pair_folders import fingerprint_folders, pair_folders, read_pair_folders


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for place in ("b/train/pairs.jsonl", "a/train/pairs.jsonl.gz", "a/heldout/pairs.jsonl.gz", "own.jsonl",
                  ".hidden/pairs.jsonl", "b/heldout/deeper/pairs.jsonl"):  # fmt: skip
        write_pairs(tmp_path / place, [Pair("qa", f"query of {place}", "answer", "s", "text")])
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_subfolders_are_read_in_order_and_nothing_that_is_held_out(tree: Path) -> None:
    read = read_pair_folders(tree, subfolders=True)
    assert [pair.query.removeprefix("query of ") for pair in read.pairs] == [
        "own.jsonl", "a/train/pairs.jsonl.gz", "b/train/pairs.jsonl",
    ]  # fmt: skip
    assert len(read.files) == 3


def test_without_subfolders_only_the_folder_itself_counts(tree: Path) -> None:
    assert pair_folders(tree) == [tree]
    assert len(read_pair_folders(tree).pairs) == 1
    assert fingerprint_folders(tree) == fingerprint(tree)
    assert len(read_pair_folders(tree / "own.jsonl", subfolders=True).pairs) == 1


def test_the_fingerprint_changes_with_any_file_that_is_read_and_with_no_other(tree: Path) -> None:
    before = fingerprint_folders(tree, subfolders=True)
    write_pairs(tree / "a/heldout/pairs.jsonl.gz", [Pair("qa", "other", "answer", "s", "text")])
    assert fingerprint_folders(tree, subfolders=True) == before
    write_pairs(tree / "a/train/pairs.jsonl.gz", [Pair("qa", "other", "answer", "s", "text")])
    assert fingerprint_folders(tree, subfolders=True) != before


def test_a_tree_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PairError, match="holds no file of pairs"):
        read_pair_folders(tmp_path, subfolders=True)
