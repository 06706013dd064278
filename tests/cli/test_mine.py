import argparse
import json

import pytest

from codequarry.cli.mine import MORE, add_arguments, run
from codequarry.data.mining.schema import KINDS
from codequarry.data.pair_files import read_pairs

CODE = (
    'def mean(numbers):\n    """Compute the mean of numbers."""\n    total = sum(numbers)\n'
    "    count = len(numbers)\n    return total / count\n"
)


def mine(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def grown(repository):
    repository.commit("Begin", {"notes.md": "words"})
    repository.commit("Compute the mean of numbers", {"sums.py": CODE})
    return repository


def test_a_checkout_becomes_a_folder_of_pairs_and_a_table(grown, tmp_path, capsys):
    mine(grown.folder, "--out", tmp_path / "out", "--holdout", 0)
    kinds = {file.name.partition(".")[0] for file in (tmp_path / "out/train").iterdir()}
    assert kinds == {"docstring", "comment", "signature", "commit"}
    assert json.loads((tmp_path / "out/mined.json").read_text())["files"]["read"] == 1
    table = capsys.readouterr().out
    assert all(f"\n{kind} " in table for kind in kinds)


def test_kinds_format_and_limit_are_heeded(grown, tmp_path):
    out = tmp_path / "out"
    mine(grown.folder, "--out", out, "--kinds", "docstring,commit", "--format", "parquet", "--holdout", 0)
    assert {file.name for file in (out / "train").iterdir()} == {"docstring.parquet", "commit.parquet"}
    assert [pair.document for pair in read_pairs(out / "train/docstring.parquet").pairs] == [
        CODE.replace('    """Compute the mean of numbers."""\n', "").rstrip()
    ]


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_mined(grown, tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        mine(tmp_path / "absent", "--out", tmp_path / "out")


def test_the_help_names_every_kind():
    assert all(f"  {kind} " in MORE for kind in KINDS)
