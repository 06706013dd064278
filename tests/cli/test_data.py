import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from codequarry.cli.data import (
    BUILD_EXAMPLE,
    add_build_arguments,
    run_build,
)


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_build_arguments(parser)
    return parser.parse_args(words)


def test_either_side_is_built_by_its_own_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'nothing' is no evaluation set"):
        run_build(_parsed("eval", "--out", str(tmp_path / "out"), "--sets", "nothing"))
    with pytest.raises(ValueError, match="'nothing' is no source of training pairs"):
        run_build(_parsed("train", "--out", str(tmp_path / "out"), "--sources", "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_the_example_is_parsed() -> None:
    assert _parsed(*BUILD_EXAMPLE.split()[3:])


def test_the_options_cost_no_import() -> None:
    code = "import codequarry.cli.data, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"codequarry.data.catalog.registry", "platformdirs", "torch"} & set(loaded)
