import json
from pathlib import Path

import pytest

from codequarry.data.eval_set import EvalSet, write_eval_set
from codequarry.data.sources.compare import compare, comparison_json, comparison_table


def _write(folder: Path, queries: list[str], documents: list[str]) -> None:
    write_eval_set(
        folder,
        EvalSet(
            folder.name,
            "nl2code",
            {f"q{n}": text for n, text in enumerate(queries)},
            {f"d{n}": text for n, text in enumerate(documents)},
            {f"q{n}": {f"d{n}": 1} for n in range(len(queries))},
        ),
        {},
    )


def test_order_and_ids_do_not_count(tmp_path: Path) -> None:
    _write(tmp_path / "a/small", ["one", "two"], ["1", "2"])
    _write(tmp_path / "b/small", ["two", "one"], ["2", "1"])
    [found] = compare(tmp_path / "a", tmp_path / "b")
    assert found.same
    assert comparison_table([found]).endswith("1 of 1 sets are the same, text by text.")


def test_texts_that_differ_in_white_space_are_told_from_others(tmp_path: Path) -> None:
    _write(tmp_path / "a/small", ["one", "two"], ["x = 1", "y = 2", "z"])
    _write(tmp_path / "b/small", ["one", "three"], ["x  =\n1", "y = 2"])
    [found] = compare(tmp_path / "a/small", tmp_path / "b/small")
    assert (found.queries.left, found.queries.right, found.queries.exact, found.queries.loose) == (2, 2, 1, 1)
    documents = found.documents
    assert (documents.left, documents.right, documents.exact, documents.loose) == (3, 2, 1, 2)
    assert (found.judgments.exact, found.judgments.loose) == (0, 1)
    assert not found.same
    assert json.loads(comparison_json([found]))[0]["documents"]["loose"] == 2


def test_folders_without_a_common_set_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "a/small", ["one"], ["1"])
    _write(tmp_path / "b/other", ["one"], ["1"])
    with pytest.raises(ValueError, match=r"\(small\) and .*\(other\) have no set of the same name"):
        compare(tmp_path / "a", tmp_path / "b")


def test_a_set_that_does_not_say_its_task_takes_it_from_its_row(tmp_path: Path) -> None:
    for side in "ab":
        _write(tmp_path / side / "mbpp", ["one"], ["1"])
        (tmp_path / side / "mbpp/set.json").unlink()
    assert compare(tmp_path / "a", tmp_path / "b")[0].same
