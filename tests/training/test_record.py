"""What a run says of its data."""

from codequarry.data.catalog.registry import hub_sources, known_licences
from codequarry.training.record import mixture_summary, source_record


def test_mined_repositories_are_announced_together() -> None:
    sizes = {"tldr:nl2code": 31395, "a/b:qa": 100, "c/d:qa": 50, "c/d:nl2code": 7, "left out:qa": 9}
    shares = {"tldr:nl2code": 0.5, "a/b:qa": 0.25, "c/d:qa": 0.15, "c/d:nl2code": 0.1}
    assert mixture_summary(sizes, shares) == [
        "tldr:nl2code: 31,395 pairs, 50.0% of the batches",
        "mined repositories:qa: 150 pairs of 2, 40.0% of the batches",
        "mined repositories:nl2code: 7 pairs of 1, 10.0% of the batches",
    ]


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
