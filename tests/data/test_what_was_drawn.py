"""The rows of a run's record."""

from codequarry.data.mixture import known_licences
from codequarry.data.what_was_drawn import drawn


def test_a_row_says_what_was_drawn_under_which_licence() -> None:
    licences = known_licences()
    row = drawn("conala:nl2code", 2344, 0.01474, 9, 64, licences)
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
    assert drawn("my-code:qa", 64, 1.0, 1, 64, known_licences())["licence"] is None
