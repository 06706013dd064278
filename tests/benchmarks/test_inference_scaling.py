"""Cost by length and memory by count: what is measured, with a model of a few numbers."""

from pathlib import Path

import pytest

from codequarry.benchmarks.inference_scaling import DECODER, length_figure, peak_bytes, tokens_per_second
from codequarry.modules.backbone import MINI_FOLDER


def test_each_length_has_a_rate_of_the_processor_s_time() -> None:
    small = DECODER | {
        "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 50,
    }  # fmt: skip
    rows = tokens_per_second(small, (4, 32), tokens=64, rounds=2)
    assert [row["tokens"] for row in rows] == [4, 32]
    assert all(row["tokens_per_second"] > 0 for row in rows)


def test_the_figure_has_a_mark_for_each_length() -> None:
    rows = [{"tokens": 16, "tokens_per_second": 900}, {"tokens": 64, "tokens_per_second": 1000}]
    (axes,) = length_figure(rows, "on paper").axes
    assert axes.lines[0].get_xydata().tolist() == [[16, 900], [64, 1000]]
    assert axes.get_ylim()[0] == 0


@pytest.mark.exhaustive
def test_the_memory_of_many_texts_is_that_of_few(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    few, many = peak_bytes(MINI_FOLDER, (2_100, 6_300))
    assert few["texts"] == 2_100
    assert many["peak_bytes"] < 1.1 * few["peak_bytes"]
