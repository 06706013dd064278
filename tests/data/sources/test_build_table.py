from codequarry.data.sources.build_table import build_table


def test_counts_stand_to_the_right_and_lines_have_no_blanks_behind_them() -> None:
    rows = [("set", "task", "queries", "documents", ""), ("completion", "qa", "9", "1,234,567", "kept")]
    assert build_table(rows).split("\n") == [
        "set         task  queries  documents",
        "completion  qa          9  1,234,567  kept",
    ]
