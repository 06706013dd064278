import ast
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codequarry.release import runner, runtimes
from codequarry.release.runtimes import (
    KINDS,
    KNOWN_DIFFERENCES,
    TOLERANCES,
    Distance,
    distances,
    known_difference,
)

STOCK = KINDS[0]

RUNNER = ast.parse(Path(runner.__file__).read_text())


def imported(statements):
    """The packages that these statements import, those in functions too, without the standard library."""
    found = set()
    for node in (inner for statement in statements for inner in ast.walk(statement)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


def helpers_of(function):
    """The functions of the runner that one of its functions calls."""
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    names = {called.id for called in calls if isinstance(called, ast.Name)}
    return [node for node in RUNNER.body if isinstance(node, ast.FunctionDef) and node.name in names]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_runner_imports_for_a_runtime_no_more_than_its_packages(kind):
    function, versions = runner.RUNTIMES[kind.name]
    (code,) = [node for node in RUNNER.body if getattr(node, "name", "") == function.__name__]
    # safetensors and tokenizers come with transformers; transformers and torch come with
    # sentence-transformers, and are asked for their versions.
    assert imported([code, *helpers_of(code)]) - {"safetensors", "tokenizers", "numpy"} == set(kind.packages)
    assert set(versions) - ({"transformers", "torch"} if kind is STOCK else set()) == set(kind.packages)


def test_the_runner_imports_nothing_of_ours_and_only_numpy_for_every_runtime():
    functions = {function.__name__ for function, _ in runner.RUNTIMES.values()}
    called = {
        helper.name
        for node in RUNNER.body
        if getattr(node, "name", "") in functions
        for helper in helpers_of(node)
    }
    shared = [node for node in RUNNER.body if getattr(node, "name", "") not in functions | called]
    assert imported(shared) == {"numpy"}
    assert runner.RUNTIMES.keys() == {kind.name for kind in KINDS}


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


TEXTS = ["ordinary", "ordinary", "special_tokens"]


@pytest.fixture
def golden():
    vectors = np.random.default_rng(0).normal(size=(3, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [{"kind": kind, "text": f"text {n}", "vector": list(vectors[n])} for n, kind in enumerate(TEXTS)]
    return {"dims": [8, 4], "rows": rows}


def whole(golden):
    return np.array([row["vector"] for row in golden["rows"]])


def test_the_golden_vectors_are_no_distance_from_themselves_in_any_dimension(golden):
    found = distances(golden, {"float32 left 16 8": whole(golden).astype(np.float32)})
    assert {(one.kind, one.dim) for one in found} == {
        (kind, dim) for kind in ("ordinary", "special_tokens") for dim in (8, 4)
    }
    assert max(one.absolute_difference for one in found) < 1e-7
    assert min(one.cosine for one in found) > 1 - 1e-7
    assert str(found[0]) == "float32, ordinary texts, dim 8, batch 16, padded left"


def test_the_worst_text_of_a_kind_is_found(golden):
    vectors = whole(golden)
    vectors[1, 0] += 0.1
    vectors[2, 5] -= 0.3
    found = {(one.kind, one.dim): one for one in distances(golden, {"float32 right 1 8": vectors})}
    assert found["ordinary", 8].absolute_difference == pytest.approx(0.1)
    assert found["ordinary", 8].text == "text 1"
    assert found["special_tokens", 8].absolute_difference == pytest.approx(0.3)
    assert found["special_tokens", 4].absolute_difference < 1e-7  # the sixth number is cut away


def test_a_runtime_that_cuts_by_itself_is_held_to_its_own_cut(golden):
    """Stock sentence-transformers may cut after it has normalised; a vector so cut is a miss."""
    cut = whole(golden)[:, :4]
    found = distances(golden, {"float32 right 16 8": whole(golden), "float32 right 16 4": cut})
    assert [one.dim for one in found] == [8, 8, 4, 4]
    assert found[2].absolute_difference > 0.01
    assert found[2].cosine == pytest.approx(1)


def test_a_vector_of_nan_is_the_worst_there_is(golden):
    vectors = whole(golden)
    vectors[0] += 0.5
    vectors[1] = np.nan
    found = distances(golden, {"float32 right 1 8": vectors})[0]
    assert np.isnan(found.absolute_difference)
    assert np.isnan(found.cosine)
    assert found.text == "text 1"


def test_a_pass_without_a_vector_for_each_text_is_refused(golden):
    with pytest.raises(ValueError, match=r"has the shape \(2, 8\); there are 3 golden texts"):
        distances(golden, {"float32 right 1 8": whole(golden)[:2]})


FOUND = Distance("ordinary", "float32", "right", 1, 64, 1e-7, 1.0, "x")


@pytest.mark.parametrize("row", TOLERANCES.values(), ids=str)
def test_every_precision_is_held_to_something_and_says_what_was_measured(row):
    assert (row.absolute_difference is None) != (row.cosine is None)
    assert row.measured[0].isdigit()


@pytest.mark.parametrize("precision", TOLERANCES)
def test_nan_is_never_within_a_tolerance(precision):
    nan = float("nan")
    assert TOLERANCES[precision].allows(FOUND)
    assert not TOLERANCES[precision].allows(replace(FOUND, absolute_difference=nan, cosine=nan))


def test_float32_is_held_to_its_numbers_and_less_to_a_cosine():
    far = replace(FOUND, absolute_difference=2e-5, cosine=0.99995)
    assert not TOLERANCES["float32"].allows(far)
    assert TOLERANCES["float32"].miss(far) == "2.0e-05 from the golden vector, 1e-05 allowed,"
    assert TOLERANCES["bfloat16"].allows(far)
    assert TOLERANCES["bfloat16"].miss(far) == "cosine 0.99995 to the golden vector, 0.999 required,"


@pytest.mark.parametrize("row", KNOWN_DIFFERENCES)
def test_a_known_difference_is_of_a_runtime_there_is(row):
    assert row.runtime in {kind.name for kind in KINDS}
    assert known_difference(row.runtime, "3.4.1", row.kind) is row


def test_only_older_versions_are_excused():
    assert known_difference("sentence-transformers", "5.9", "outer_whitespace")
    assert not known_difference("sentence-transformers", "6.0.0", "outer_whitespace")
    assert not known_difference("sentence-transformers", "3.4.1", "ordinary")
    assert not known_difference("transformers", "4.57.6", "outer_whitespace")


def test_a_vector_that_is_not_of_length_1_is_a_problem_in_every_precision(tmp_path):
    unit = np.eye(2, 4)
    rows = [{"kind": "ordinary", "text": "a", "vector": [*row]} for row in unit.tolist()]
    golden = {"rows": rows, "dims": [4, 2]}
    kind = next(one for one in runtimes.KINDS if one.name == "transformers")
    for precision in ("float32", "bfloat16", "int8"):
        for scale, ok in ((1.0, True), (3.08, False), (0.9, False)):
            found = distances(golden, {f"{precision} right 1 4": unit * scale})
            judged = runtimes._judge(kind, tmp_path, {"transformers": "5.0"}, precision, found)
            assert (not judged.problems) is ok, (precision, scale)
            assert ok or any(f"a vector has length {scale:.4f}, not 1" in one for one in judged.problems)
