import ast
import sys
from pathlib import Path

from codequarry.release import runtimes

SCRIPT = Path(runtimes.__file__).with_name("reload_stock.py")


def test_the_script_imports_nothing_of_ours():
    tree = ast.parse(SCRIPT.read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    ours_or_heavy = imported - set(sys.stdlib_module_names)
    # torch and transformers come with sentence-transformers; they are asked for their versions.
    assert ours_or_heavy == {"numpy", "sentence_transformers", "torch", "transformers"}


def test_an_interpreter_that_does_not_exist_is_named(built):
    (problem,) = runtimes.reload(built, Path("/nowhere/python")).problems
    assert "/nowhere/python cannot be started" in problem


def test_the_error_of_an_interpreter_is_passed_on(built, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ValueError: no such class.' >&2\nexit 1\n")
    python.chmod(0o755)
    (problem,) = runtimes.reload(built, python).problems
    assert "could not load the folder and encode with it: ValueError: no such class." in problem


def test_of_a_long_error_the_line_that_names_it_is_passed_on():
    stderr = "Traceback:\n  ...\nImportError: no converter.\nInstall one\nand restart."
    assert runtimes._error_line(stderr) == "ImportError: no converter."
    assert runtimes._error_line("") == "no message"


def test_nan_is_never_within_a_tolerance():
    row = {"worst_absolute_difference": float("nan"), "worst_cosine": float("nan")}
    assert not runtimes._within(row | {"dtype": "float32"})
    assert not runtimes._within(row | {"dtype": "bfloat16"})


def answer(version, **row):
    good = {
        "kind": "ordinary",
        "dtype": "float32",
        "dim": 64,
        "batch_size": 1,
        "worst_absolute_difference": 1e-7,
        "worst_cosine": 1.0,
        "worst_text": "x",
    }
    return {
        "python": "3.11.7",
        "sentence_transformers": version,
        "transformers": "0",
        "torch": "0",
        "loaded_as": "float32",
        "measured": [good, good | row],
    }


def test_a_known_difference_of_an_old_runtime_is_an_exception_with_its_name():
    spaces = {"kind": "outer_whitespace", "worst_absolute_difference": 0.2}
    old = runtimes._judge(Path("python"), answer("3.4.1", **spaces))
    assert old.problems == ()
    assert old.worst_absolute_difference == 1e-7  # what is excepted does not hide what is held to a tolerance
    (exception,) = old.exceptions
    assert exception.startswith("sentence-transformers 3.4.1 with transformers 0 strips white space")


def test_the_same_difference_in_a_newer_runtime_is_a_problem():
    spaces = {"kind": "outer_whitespace", "worst_absolute_difference": 0.2}
    new = runtimes._judge(Path("python"), answer("6.2.0", **spaces))
    assert new.exceptions == ()
    assert "outer whitespace texts, dim 64, batch 1" in new.problems[0]


def test_an_ordinary_text_has_no_excuse_in_any_runtime():
    old = runtimes._judge(Path("python"), answer("3.4.1", worst_absolute_difference=2e-5))
    assert "2.0e-05 from the golden vector, 1e-05 allowed, at 'x'" in old.problems[0]


def test_bf16_is_held_to_its_cosine():
    row = {"dtype": "bfloat16", "worst_absolute_difference": 0.01}
    assert not runtimes._judge(Path("python"), answer("6.2.0", **row, worst_cosine=0.9995)).problems
    assert runtimes._judge(Path("python"), answer("6.2.0", **row, worst_cosine=0.998)).problems
