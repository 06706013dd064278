from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from codequarry.common.plots import empty_figure, spread, styled, write_picture


@pytest.mark.parametrize("seed", range(5))
def test_crowded_names_move_as_little_as_they_can(seed: int) -> None:
    values = sorted(np.random.default_rng(seed).uniform(0, 10, 7).tolist())
    moved = spread(values, 1.0)
    assert all(above - below >= 1 - 1e-9 for below, above in pairwise(moved))
    rules = [{"type": "ineq", "fun": lambda x, n=n: x[n + 1] - x[n] - 1.0} for n in range(6)]
    best = minimize(
        lambda x: float(np.sum((x - values) ** 2)), np.arange(7) * 2.0, constraints=rules, tol=1e-12
    )
    assert moved == pytest.approx(best.x.tolist(), abs=1e-4)


def test_names_with_room_stay_where_they_are() -> None:
    assert spread([], 1.0) == []
    assert spread([0.0, 2.0, 9.0], 1.0) == [0.0, 2.0, 9.0]
    assert spread([3.0, 3.0], 1.0) == [2.5, 3.5]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_is_written_whole_and_always_the_same(tmp_path: Path, ending: str) -> None:
    written = []
    for name in ("one", "two"):
        with styled():
            figure = empty_figure("A title", "and what is below", (4, 3))
        write_picture(tmp_path / f"{name}.{ending}", figure)
        written.append((tmp_path / f"{name}.{ending}").read_bytes())
    assert written[0] == written[1]
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"one.{ending}", f"two.{ending}"]
    assert (b"<title>A title, and what is below</title>" in written[0]) == (ending == "svg")
