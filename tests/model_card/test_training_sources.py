from codequarry.data.sources.licences import LICENCES
from codequarry.model_card.training_sources import by_licence, by_source, share_alike

ROWS = (
    {"source": "b", "task": "qa", "pairs": 5, "licence": "MIT", "pairs_drawn": 64},
    {"source": "a", "task": "qa", "pairs": 1000, "licence": "MIT", "pairs_drawn": 128},
    {"source": "a", "task": "code2nl", "pairs": 200, "licence": "MIT", "pairs_drawn": 0},
    {"source": "mine", "task": "nl2code", "pairs": 1, "licence": None, "pairs_drawn": 64},
)


def test_a_source_counts_once_under_its_licence():
    assert by_licence(ROWS) == [["MIT", "2", "1,205", "192"], ["not recorded", "1", "1", "64"]]


def test_a_source_has_one_row_with_all_its_tasks():
    assert by_source(ROWS) == [
        ["a", "MIT", "code2nl, qa", "1,200", "128"],
        ["b", "MIT", "qa", "5", "64"],
        ["mine", "not recorded", "nl2code", "1", "64"],
    ]


def test_one_number_that_was_not_recorded_makes_no_sum():
    rows = [ROWS[1], {**ROWS[2], "pairs_drawn": None}]
    assert by_source(rows) == [["a", "MIT", "code2nl, qa", "1,200", "not measured"]]


def test_share_alike_is_told_from_the_identifier_as_the_table_of_licences_has_it():
    for spdx, row in LICENCES.items():
        found = share_alike([{"source": "here", "task": "qa", "pairs": 1, "licence": spdx}])
        assert found == ([f"here ({spdx})"] if row.share_alike else [])
