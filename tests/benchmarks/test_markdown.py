from codequarry.benchmarks.markdown import markdown_table


def test_words_stand_on_the_left_and_numbers_on_the_right() -> None:
    table = markdown_table(["model", "on", "seconds"], [["nano", "cpu", "1.5"]], words=("on",))
    assert table.splitlines() == ["| model | on | seconds |", "| --- | --- | --: |", "| nano | cpu | 1.5 |"]
