import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from codequarry.data.eval_set import EvalSet, write_eval_set
from codequarry.data.sources.command import (
    BUILD_EXAMPLE,
    COMPARE_EXAMPLE,
    add_build_arguments,
    add_compare_arguments,
    run_build,
    run_compare,
)


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    {"build": add_build_arguments, "compare": add_compare_arguments}[words[0]](parser)
    return parser.parse_args(words[1:])


@pytest.fixture
def built(tmp_path: Path) -> Path:
    small = EvalSet("small", "nl2code", {"q0": "add"}, {"d0": "a + b"}, {"q0": {"d0": 1}})
    write_eval_set(tmp_path / "eval/small", small, {})
    return tmp_path / "eval"


def test_two_builds_are_compared_as_a_table_or_as_json(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_compare(_parsed("compare", str(built), str(built)))
    assert "1 of 1 sets are the same" in capsys.readouterr().out
    run_compare(_parsed("compare", str(built), str(built), "--json"))
    assert json.loads(capsys.readouterr().out)[0]["same"] is True


def test_either_side_is_built_by_its_own_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'nothing' is no evaluation set"):
        run_build(_parsed("build", "eval", "--out", str(tmp_path / "out"), "--sets", "nothing"))
    with pytest.raises(ValueError, match="'nothing' is no source of training pairs"):
        run_build(_parsed("build", "train", "--out", str(tmp_path / "out"), "--sources", "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_the_examples_are_parsed() -> None:
    for example in (BUILD_EXAMPLE, COMPARE_EXAMPLE):
        assert _parsed(*example.split()[2:])


def test_the_options_cost_no_import() -> None:
    code = "import codequarry.data.sources.command, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"codequarry.data.sources.eval_rows", "platformdirs", "torch"} & set(loaded)
