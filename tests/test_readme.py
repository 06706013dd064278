"""README.md's examples: what its program and its search print, and how large the packaged model is."""

import contextlib
import io
import re
import tomllib
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers
from safetensors import safe_open

from codequarry.__main__ import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SEARCH = re.search(r'^\$ codequarry search "(.+?)" \S+ --top (\d)\n((?:\S+:\d.+\n)+)```$', README, re.M)


def test_the_example_prints_what_follows_it() -> None:
    example = re.search(r"^```python\n(.+?)^```\n\n```text\n(.+?)^```$", README, re.M | re.S)
    assert example is not None
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(example[1], "README.md", "exec"), names)
    found, shown = (rows(text) for text in (printed.getvalue(), example[2]))
    np.testing.assert_allclose(
        found, shown, atol=0.011
    )  # two decimals, which bf16 and float32 may round apart
    assert found.argmax(1).tolist() == list(range(len(found)))  # each question finds its function


def rows(printed: str) -> Any:
    """An array as numpy prints it."""
    return np.array([[float(cell) for cell in row.strip("[] ").split()] for row in printed.splitlines()])


def test_the_search_gives_these_three_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if version("sentence-transformers") != "6.2.0":
        pytest.skip("the lines of the answers are those of sentence-transformers 6.2.0")
    assert SEARCH is not None
    query, top, shown = SEARCH.groups()
    assert f"sentence-transformers {version('sentence-transformers')}" in README
    code = Path(sentence_transformers.__file__).parent
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    main(["search", query, str(code), "--top", top])
    found = capsys.readouterr().out
    assert len(shown.splitlines()) == int(top) == 3
    for answer, line in zip(found.splitlines(), shown.splitlines(), strict=True):
        (place, score, text), (its_place, its_score, its_text) = (
            one.split(None, 2) for one in (answer, line)
        )
        assert (place, text) == (its_place, its_text)
        assert float(score) == pytest.approx(float(its_score), abs=0.005)
    assert shown in (ROOT / "docs/training.md").read_text(encoding="utf-8")


def test_every_extra_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in project["optional-dependencies"]:
        assert f"`[{extra}]`" in README, extra


def test_the_packaged_model_is_as_large_as_the_readme_says() -> None:
    weights = ROOT / "models/mini/model.safetensors"
    with safe_open(weights, framework="numpy") as file:
        parameters = sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    assert f"{parameters / 1e6:.1f}M parameters ({weights.stat().st_size / 1e6:.0f} MB)" in README
