"""What a run says of its data, and the picture of its losses and scores."""

import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from codequarry.common import plots
from codequarry.data.catalog.registry import hub_sources, known_licences
from codequarry.training.record import (
    draw_curves,
    losses,
    scores_at,
    smoothed,
    source_record,
    validations,
    write_curves,
)


def test_a_row_says_what_was_drawn_under_which_licence() -> None:
    licences = known_licences()
    row = source_record("conala:nl2code", 2344, 0.01474, 9, 64, licences)
    assert row == {
        "source": "conala",
        "task": "nl2code",
        "pairs": 2344,
        "licence": licences["conala"].spdx,
        "share": 0.0147,
        "batches_drawn": 9,
        "pairs_drawn": 576,
    }


def test_a_source_of_ones_own_has_no_licence_row() -> None:
    assert source_record("my-code:qa", 64, 1.0, 1, 64, known_licences())["licence"] is None


def test_a_row_of_a_source_on_the_hub_names_its_data_sets_each_once() -> None:
    licences = known_licences()
    for name, source in hub_sources().items():
        row = source_record(f"{name}:nl2code", 64, 1.0, 1, 64, licences)
        assert row["datasets"] == sorted({place.dataset for place in source.where}), name
    assert "datasets" not in source_record("conala:nl2code", 64, 1.0, 1, 64, licences)


HISTORY = [
    {"eval_mean_ndcg@10": 0.5, "eval_runtime": 1.0, "epoch": 0, "step": 0},
    {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-4, "epoch": 0.1, "step": 10},
    {"loss": 1.0, "grad_norm": 1.0, "learning_rate": 1e-4, "epoch": 0.2, "step": 20},
    {"eval_mean_ndcg@10": 0.7, "eval_qa_64_ndcg@10": 0.6, "eval_runtime": 1.0, "epoch": 0.2, "step": 20},
    {"train_runtime": 9.0, "train_loss": 1.5, "epoch": 0.2, "step": 20},
]


def test_losses_and_validations_are_told_apart() -> None:
    assert losses(HISTORY) == ([10, 20], [2.0, 1.0])
    assert validations(HISTORY) == [
        {"step": 0, "mean_ndcg@10": 0.5},
        {"step": 20, "mean_ndcg@10": 0.7, "qa_64_ndcg@10": 0.6},
    ]
    assert losses([]) == ([], [])
    assert validations([]) == []


def test_the_scores_of_a_step_are_those_of_its_last_validation() -> None:
    history = [
        {"step": 4, "eval_mean_ndcg@10": 0.5},
        {"step": 8, "loss": 1.0},
        {"step": 8, "eval_mean_ndcg@10": 0.6, "eval_runtime": 3.0},
        {"step": 8, "train_runtime": 9.0},
    ]
    assert scores_at(history, 8) == {"mean_ndcg@10": 0.6}
    assert scores_at(history, 4) == {"mean_ndcg@10": 0.5}
    assert scores_at(history, 6) == {}


def test_a_smoothed_line_starts_where_the_line_does_and_lags_behind_it() -> None:
    assert smoothed([]) == []
    assert smoothed([3.0]) == pytest.approx([3.0])
    assert smoothed([2.0] * 30) == pytest.approx([2.0] * 30)
    falling = smoothed([1.0] * 20 + [0.0] * 20)
    assert all(later < earlier for earlier, later in pairwise(falling[19:]))
    assert 0.05 < falling[-1] < 0.2, "0.9 to the 20th power, 0.12, is left of the first half"


LOSSES = [{"loss": 2.0 / (1 + n), "step": 10 * n} for n in range(1, 40)]
SCORES = [
    {
        "eval_mean_ndcg@10": 0.5 + 0.001 * n - 0.00002 * n * n,
        "eval_mean_128_ndcg@10": 0.48,
        "eval_nl2code_ndcg@10": 0.6,
        "eval_qa_ndcg@10": 0.6001,
        "eval_runtime": 2.0,
        "step": 50 * n,
    }
    for n in range(8)
]


def lines(figure: Any, panel: int) -> list[Any]:
    return list(figure.axes[panel].get_lines())


def texts(figure: Any, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def test_the_picture_shows_what_was_logged() -> None:
    figure = draw_curves([*LOSSES, *SCORES], "mini", "mean_ndcg@10")
    raw, smooth = lines(figure, 0)
    assert list(raw.get_xdata()) == [entry["step"] for entry in LOSSES]
    assert list(raw.get_ydata()) == [entry["loss"] for entry in LOSSES]
    assert smooth.get_ydata()[-1] > raw.get_ydata()[-1], "a falling line, smoothed, lags behind"
    mean = lines(figure, 1)[0]
    assert list(mean.get_ydata()) == pytest.approx([100 * entry["eval_mean_ndcg@10"] for entry in SCORES])
    assert {"mean", "mean 128", "nl2code", "qa"} <= set(texts(figure, 1))
    assert figure.texts[0].get_text() == "Training of mini"


def test_a_ring_marks_the_best_step_of_the_deciding_score() -> None:
    history = [
        {"eval_mean_ndcg@10": score, "step": step} for step, score in ((1, 0.4), (2, 0.7), (3, 0.7), (4, 0.6))
    ]
    figure = draw_curves(history, "mini", "mean_ndcg@10")
    _, ring = lines(figure, 1)
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2], [70.0]), "the first of two equal ones"
    assert figure.texts[1].get_text() == "4 steps, best mean_ndcg@10 70.0 at step 2"


def test_names_of_lines_that_end_together_stand_apart() -> None:
    figure = draw_curves([*LOSSES, *SCORES], "mini", "mean_ndcg@10")
    low, high = figure.axes[1].get_ylim()
    heights = sorted(text.xy[1] for text in figure.axes[1].texts)
    gaps = [(above - below) / (high - low) for below, above in pairwise(heights)]
    assert min(gaps) > 0.06


def test_a_run_without_validation_or_without_anything_is_drawn_too(tmp_path: Path) -> None:
    assert len(draw_curves(LOSSES, "mini").axes) == 1
    assert len(draw_curves([], "mini").axes) == 1
    write_curves(tmp_path, [], "mini")


def test_the_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    history = [*LOSSES, *SCORES]
    (tmp_path / "again").mkdir()
    first = write_curves(tmp_path, history, "mini", "mean_ndcg@10")
    second = write_curves(tmp_path / "again", history, "mini", "mean_ndcg@10")
    assert first.name == "curves.svg"
    assert first.read_bytes() == second.read_bytes()
    assert ElementTree.fromstring(first.read_bytes()).tag.endswith("svg")
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["curves.svg"]


def test_a_dark_page_gets_other_colours_for_every_one_that_is_used(tmp_path: Path) -> None:
    text = write_curves(tmp_path, [*LOSSES, *SCORES], "mini", "mean_ndcg@10").read_text()
    assert "prefers-color-scheme:dark" in text
    for light in (plots.INK, plots.PAPER, plots.GRID):
        assert f'[style*="fill: {light}"]' in text


def test_a_missing_matplotlib_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 'codequarry\[benchmark\]'"):
        write_curves(tmp_path, LOSSES, "mini")
    assert not list(tmp_path.iterdir())
