import json

import pytest

from codequarry.common.tables import count_table, markdown_table, shown, text_table


def test_words_stand_on_the_left_and_numbers_on_the_right() -> None:
    table = markdown_table(["model", "on", "seconds"], [["nano", "cpu", "1.5"]], words=("on",))
    assert table.splitlines() == ["| model | on | seconds |", "| --- | --- | --: |", "| nano | cpu | 1.5 |"]


def test_a_line_with_a_cell_too_many_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3 cells under 2 heads: \['nano', '1', '2'\]"):
        markdown_table(["model", "seconds"], [["nano", "1", "2"]])


def test_counts_stand_to_the_right_and_lines_have_no_blanks_behind_them() -> None:
    rows = [("set", "task", "queries", "documents", ""), ("completion", "qa", "9", "1,234,567", "kept")]
    assert text_table(rows, right=(2, 3)).split("\n") == [
        "set         task  queries  documents",
        "completion  qa          9  1,234,567  kept",
    ]


def test_a_table_of_counts_has_a_rule_below_its_heads() -> None:
    assert count_table([("files", ""), ("read", "1,234"), ("binary", "5")]).split("\n") == [
        "files",
        "-------------",
        "read    1,234",
        "binary      5",
    ]


ODD = "a\x1b[31m\x07\x9b2J\u202eb\u2066\x7f\r\n\udc80é\U0001f600"


def test_what_would_steer_a_terminal_is_written_as_an_escape_sequence() -> None:
    plain = shown(ODD)
    assert plain.isprintable()
    assert plain.encode().decode("unicode_escape", "surrogatepass").startswith("a\x1b[31m\x07\x9b2J\u202eb")
    assert plain.endswith("é\U0001f600")


def test_json_for_a_terminal_is_still_the_same_json() -> None:
    text = shown(json.dumps({"name": ODD}, ensure_ascii=False, indent=2), json=True)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert json.loads(text) == {"name": ODD}
