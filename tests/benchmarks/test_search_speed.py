"""The timing of whole searches."""

import argparse
from pathlib import Path

import pytest

from codequarry.benchmarks.search_speed import Contender, add_arguments, run, search
from codequarry.common.errors import UserError


def test_an_older_version_is_the_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "older/codequarry"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys\nopen('asked', 'w').write(' '.join(sys.argv[1:]))\n")
    monkeypatch.chdir(tmp_path)  # so that a relative path is one of another folder than that of the search
    (tmp_path / "work").mkdir()
    older = Contender("older", Path("older/codequarry"), ("--top", "3"))
    asked = search(older, Path("code"), tmp_path / "work/cache", "read a date")
    assert (tmp_path / "work/asked").read_text() == "search read a date code --top 3"
    assert asked.memory > 0
    (package / "__main__.py").write_text("raise SystemExit('no such option')\n")
    with pytest.raises(UserError, match="older ended with 1: no such option"):
        search(older, Path("code"), tmp_path / "work/cache", "read a date")


def test_a_folder_without_a_program_is_refused(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(UserError, match="pass the folder `codequarry` of an older version"):
        run(parser.parse_args(["code", "--older", str(tmp_path), "--out", str(tmp_path / "out.json")]))
