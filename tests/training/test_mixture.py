"""What a run says of its mixture, and what it leaves out before it starts."""

from pathlib import Path

import pytest
from accelerate import PartialState

from codequarry.common.errors import UserError
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.training import mixture as training_mixture
from codequarry.training.mixture import (
    Mixture,
    drawn_summary,
    load_mixture,
    mixture_summary,
    read_selected,
    validation_line,
)


def test_mined_repositories_are_announced_together() -> None:
    sizes = {"tldr:nl2code": 31395, "a/b:qa": 100, "c/d:qa": 50, "c/d:nl2code": 7, "left out:qa": 9}
    shares = {"tldr:nl2code": 0.5, "a/b:qa": 0.25, "c/d:qa": 0.15, "c/d:nl2code": 0.1}
    assert mixture_summary(sizes, shares) == [
        "tldr:nl2code: 31,395 pairs, 50.0% of the batches",
        "mined repositories:qa: 150 pairs of 2, 40.0% of the batches",
        "mined repositories:nl2code: 7 pairs of 1, 10.0% of the batches",
    ]


def test_sources_that_are_drawn_in_no_step_are_named() -> None:
    sizes = {"large:qa": 900, "small:qa": 30, "tiny:qa": 10}
    shares = {"large:qa": 0.9, "small:qa": 0.06, "tiny:qa": 0.04}
    last = mixture_summary(sizes, shares, 10)[-1]
    assert last == "max_steps = 10 is less than one step for 1 of 3 sources, which are not drawn: tiny:qa."
    assert len(mixture_summary(sizes, shares, 100)) == len(mixture_summary(sizes, shares)) == 3


def test_what_was_drawn_is_shown_with_what_was_announced() -> None:
    shares = {"tldr:nl2code": 0.5, "a/b:qa": 0.3, "c/d:qa": 0.2}
    assert drawn_summary(shares, {"tldr:nl2code": 6, "a/b:qa": 2}) == [
        "tldr:nl2code: 6 batches drawn, 75.0% (announced 50.0%)",
        "mined repositories:qa: 2 batches drawn, 25.0% (announced 50.0%)",
    ]
    assert drawn_summary(shares, {"c/d:qa": 1})[-1].startswith("mined repositories:qa: 1 batch drawn, ")
    assert drawn_summary(shares, {})[0] == "tldr:nl2code: 0 batches drawn, 0.0% (announced 50.0%)"


@pytest.mark.parametrize(("pairs", "keep", "warned"), [(7, "best", True), (99, "best", True),
                                                      (100, "best", False), (7, "last", False)])  # fmt: skip
def test_a_checkpoint_chosen_by_few_pairs_is_said_to_be(pairs: int, keep: str, warned: bool) -> None:
    line = validation_line(pairs, keep)
    assert line.startswith(f"{pairs} pairs held out to validate on.")
    assert ("chosen by these few" in line) == warned
    if pairs == 7 and warned:
        assert "±19 points" in line, "50 / sqrt(7)"


def written(folder: Path, name: str, pairs: int, *, queries: int = 10_000, documents: int = 10_000) -> None:
    """A source of so many pairs, with so many different queries and documents."""
    rows = [
        Pair("nl2code", f"{name} asks {n % queries}", f"{name} answers {n % documents}", name, "python")
        for n in range(pairs)
    ]
    write_pairs(folder / f"{name}.jsonl", rows)


def mixture_of(folder: Path, *settings: str) -> Mixture:
    recipe = read_recipe(recipe_path("own"), [f"data={folder}", "batch_size=16", *settings])
    selected = read_selected(recipe)
    return load_mixture(recipe, selected, folder / "run", ranks=PartialState(cpu=True), device="cpu")


def test_a_source_that_fills_no_batch_is_left_out_before_any_model_with_the_number_that_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_mixture, "_with_negatives", lambda pairs, *_: pairs)
    written(tmp_path, "alike", 200, documents=5)
    written(tmp_path, "few", 9)
    with pytest.raises(UserError, match=r"fills one batch of 16 pairs.*batch_size=5\..* alike:nl2code: 200"):
        mixture_of(tmp_path)
    assert mixture_of(tmp_path, "batch_size=5").shares.keys() == {"alike:nl2code", "few:nl2code"}
    written(tmp_path, "good", 64)
    for mined in ([], ["hard_negatives.model=mini"]):
        capsys.readouterr()
        mixture = mixture_of(tmp_path, *mined)
        assert mixture.shares == {"good:nl2code": 1.0}
        said = capsys.readouterr().out
        assert said.count("left out: alike:nl2code: 200 pairs, whose texts repeat so much") == 1
        assert said.count("left out: few:nl2code: 9 pairs, fewer than one batch of 16") == 1


def test_with_negatives_that_the_loss_does_not_mask_every_column_counts(tmp_path: Path) -> None:
    hub = [Pair("nl2code", f"q{n}", f"d{n}", "mined", "python", ("the hub",)) for n in range(64)]
    write_pairs(tmp_path / "mined.jsonl", hub)
    assert mixture_of(tmp_path).shares == {"mined:nl2code": 1.0}
    with pytest.raises(UserError, match="no more than 1 pairs"):
        mixture_of(tmp_path, "objective.false_negatives.same_document=false")
