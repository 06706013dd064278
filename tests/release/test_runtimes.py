import ast
import sys
from pathlib import Path

import pytest

from codequarry.release import runners, runtimes
from codequarry.release.compare import Distance
from codequarry.release.runtimes import KINDS

STOCK = KINDS[0]
BESIDE = {"golden_passes"}  # copied along


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_program_imports_nothing_of_ours_and_no_more_than_its_runtime(kind):
    tree = ast.parse((Path(runners.__file__).parent / kind.program).read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    # torch and transformers come with sentence-transformers; they are asked for their versions.
    along = {"numpy", "torch", "transformers"} if kind is STOCK else {"numpy"}
    assert imported - set(sys.stdlib_module_names) - BESIDE - along == set(kind.packages) - along


def test_an_interpreter_that_does_not_exist_is_named(built):
    (row,) = runtimes.runtimes(built, Path("/nowhere/python"))
    assert "/nowhere/python cannot be started" in row.problems[0]


def test_an_interpreter_without_a_runtime_is_named(built, tmp_path):
    python = script(tmp_path, "")
    (row,) = runtimes.runtimes(built, python)
    assert row.problems == (
        f"{python} has none of sentence-transformers, transformers: install one there, or leave "
        "--python out.",
    )


def test_an_interpreter_is_found_as_a_shell_finds_it(built, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    for name in ("bin/python", "python"):
        (row,) = runtimes.runtimes(built, Path(name))
        assert row.python == tmp_path / "bin" / "python"
        assert "has none of" in row.problems[0]


def test_the_error_of_a_runtime_is_passed_on(built, tmp_path):
    python = script(tmp_path, "echo 'ValueError: no such class.' >&2; exit 1")
    (row,) = runtimes.reload(built, python, STOCK)
    assert "could not load the folder and encode with it: ValueError: no such class." in row.problems[0]
    assert row.name == f"sentence-transformers of {python}"


def test_a_runtime_that_is_killed_says_so(built, tmp_path):
    (row,) = runtimes.reload(built, script(tmp_path, "echo 'some warning' >&2; kill -9 $$"), STOCK)
    assert row.problems[0].endswith("signal 9 ended it, as it does where memory is short")
    (row,) = runtimes.reload(built, script(tmp_path, "kill -11 $$"), STOCK)
    assert row.problems[0].endswith("signal 11 ended it")


def test_of_a_long_error_the_line_that_names_it_is_passed_on():
    stderr = "Traceback:\n  ...\nImportError: no converter.\nInstall one\nand restart."
    assert runtimes._error_line(stderr) == "ImportError: no converter."
    assert runtimes._error_line("") == "no message"


def test_a_known_difference_of_an_old_runtime_is_an_exception_with_its_name():
    old = judged("3.4.1", kind="outer_whitespace", absolute_difference=0.2)
    assert old.problems == ()
    assert old.worst_absolute_difference == 1e-7  # what is excepted does not hide what is held to a tolerance
    (exception,) = old.exceptions
    assert exception.startswith("sentence-transformers 3.4.1 with transformers 5.0 strips white space")


def test_the_same_difference_in_a_newer_runtime_is_a_problem():
    new = judged("6.2.0", kind="outer_whitespace", absolute_difference=0.2)
    assert new.exceptions == ()
    assert "outer whitespace texts, dim 64, batch 1" in new.problems[0]


def test_an_ordinary_text_has_no_excuse_in_any_runtime():
    old = judged("3.4.1", absolute_difference=2e-5)
    assert "2.0e-05 from the golden vector, 1e-05 allowed, at 'x'" in old.problems[0]


def judged(version, kind="ordinary", absolute_difference=1e-7):
    good = Distance("ordinary", "float32", "right", 1, 64, 1e-7, 1.0, "x")
    other = Distance(kind, "float32", "right", 1, 64, absolute_difference, 1.0, "x")
    versions = {"sentence-transformers": version, "transformers": "5.0", "torch": "2.13"}
    return runtimes._judge(STOCK, Path("python"), versions, "float32", [good, other])


def script(folder, body):
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    return python
