import pytest

from codequarry.benchmarks.markdown import markdown_table


def test_words_stand_on_the_left_and_numbers_on_the_right() -> None:
    table = markdown_table(["model", "on", "seconds"], [["nano", "cpu", "1.5"]], words=("on",))
    assert table.splitlines() == ["| model | on | seconds |", "| --- | --- | --: |", "| nano | cpu | 1.5 |"]


def test_a_line_with_a_cell_too_many_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3 cells under 2 heads: \['nano', '1', '2'\]"):
        markdown_table(["model", "seconds"], [["nano", "1", "2"]])
