"""The same run on one rank and on two."""

import json
import sys
from pathlib import Path

import pytest

from codequarry.benchmarks.training import scaling
from codequarry.benchmarks.training.scaling import Sitting, losses_apart, scaling_table
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs


def test_two_real_ranks_have_the_losses_of_one(
    some_pairs: list[Pair],
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_pairs(tmp_path / "pairs/a.jsonl", some_pairs)
    words = ["--data", str(tmp_path / "pairs"), "--steps", "4", "--out", str(tmp_path)]
    words += [word for setting in (*small, "precision=fp32") for word in ("--set", setting)]
    monkeypatch.setattr(sys, "argv", ["scaling", *words])
    parser = scaling.argparse.ArgumentParser()
    scaling.add_arguments(parser)
    scaling.run(parser.parse_args())
    record = json.loads((tmp_path / "training-scaling.json").read_text())
    assert [run["ranks"] for run in record["runs"]] == [1, 2]
    assert all(len(run["losses"]) == 4 and run["pairs_per_second"] > 0 for run in record["runs"])
    assert record["losses_apart"] < 1e-4
    assert str(tmp_path) not in json.dumps(record)
    assert scaling_table(record) in capsys.readouterr().out


def test_a_run_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the run on 2 ranks failed: .*no-such-folder"):
        scaling.sitting(2, "nano", tmp_path, steps=1, threads=1, settings=["data=no-such-folder"])


def test_the_largest_difference_counts() -> None:
    one, other = Sitting(1, 1.0, 1.0, (2.0, 4.0)), Sitting(2, 1.0, 1.0, (2.0, 5.0))
    assert losses_apart(one, other) == 0.25
