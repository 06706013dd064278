import random
from collections import Counter

import pytest

from codequarry.data.catalog.registry import (
    TRAIN_SOURCES,
    hub_sources,
    known_licences,
    mined_repositories,
)
from codequarry.data.catalog.schema import Licence
from codequarry.data.mixture import batch_shares, datasets_of, even_cap, part_of, select
from codequarry.data.pair import Pair

LICENCES = {
    "so": Licence("CC-BY-SA-4.0", commercial=True, share_alike=True),
    "tldr": Licence("CC-BY-4.0", commercial=True),
    "grey": Licence("LicenseRef-unclear", commercial=False),
}


def pairs(source: str, count: int, task: str = "nl2code", negatives: int = 0) -> list[Pair]:
    return [
        Pair(task, f"{source} {task} {n}", f"code {source} {n}", source, "python", ("x",) * negatives)
        for n in range(count)
    ]


MIXED = [*pairs("so", 9), *pairs("tldr", 30), *pairs("grey", 4), *pairs("mine", 5), *pairs("tldr", 6, "qa")]


def test_commercial_leaves_out_what_may_not_be_sold_and_permissive_share_alike_too() -> None:
    kept, left_out = select(MIXED, licences=LICENCES)
    assert Counter(pair.source for pair in kept) == {"so": 9, "tldr": 36, "mine": 5}
    assert left_out == {"grey": "4 pairs under LicenseRef-unclear, with licences = 'commercial'"}
    kept, left_out = select(MIXED, licences=LICENCES, allowed="permissive")
    assert Counter(pair.source for pair in kept) == {"tldr": 36, "mine": 5}, "your own has no licence: kept"
    assert set(left_out) == {"grey", "so"}


def test_every_source_with_a_row_has_a_licence() -> None:
    known = known_licences()
    assert known["so_codenn"].share_alike
    assert not known["tldr"].share_alike
    assert {*TRAIN_SOURCES, *hub_sources(), *(row.name for row in mined_repositories())} == {*known}


def test_a_cap_draws_some_of_each_source_and_task_the_same_ones_for_the_same_seed() -> None:
    kept, left_out = select(MIXED, licences={}, max_pairs=8, seed=1)
    assert Counter(map(part_of, kept)) == {
        "so:nl2code": 8, "tldr:nl2code": 8, "grey:nl2code": 4, "mine:nl2code": 5, "tldr:qa": 6,
    }  # fmt: skip
    assert left_out["tldr:nl2code"] == "22 pairs over the cap of 8"
    assert kept == select(MIXED, licences={}, max_pairs=8, seed=1)[0]
    assert kept != select(MIXED, licences={}, max_pairs=8, seed=2)[0]
    assert kept == sorted(kept, key=MIXED.index), "in their order"
    without_one = [pair for pair in MIXED if pair.source != "so"]
    others = [pair for pair in kept if pair.source != "so"]
    assert select(without_one, licences={}, max_pairs=8, seed=1)[0] == others, "a source draws for itself"


def test_the_exponent_goes_from_alike_to_proportional() -> None:
    sizes = {"a:qa": 100, "b:qa": 400}
    assert batch_shares(sizes, 0) == {"a:qa": 0.5, "b:qa": 0.5}
    assert batch_shares(sizes, 0.5) == pytest.approx({"a:qa": 1 / 3, "b:qa": 2 / 3})
    assert batch_shares(sizes, 1) == pytest.approx({"a:qa": 0.2, "b:qa": 0.8})


def test_weights_multiply_by_source_and_by_part() -> None:
    sizes = {"a:qa": 10, "a:nl2code": 10, "b:qa": 10}
    assert batch_shares(sizes, 0.5, {"a": 2, "a:qa": 3}) == pytest.approx(
        {"a:qa": 6 / 9, "a:nl2code": 2 / 9, "b:qa": 1 / 9}
    )
    assert batch_shares(sizes, 0.5, {"a": 0}) == {"b:qa": 1.0}


def test_a_weight_with_a_star_is_one_of_all_that_fit() -> None:
    sizes = {"owner/one:qa": 9, "owner/two:nl2code": 9, "tldr:nl2code": 9}
    assert batch_shares(sizes, 0.5, {"*/*": 0.5}) == pytest.approx(
        {"owner/one:qa": 0.25, "owner/two:nl2code": 0.25, "tldr:nl2code": 0.5}
    )
    assert batch_shares(sizes, 0.5, {"*:nl2code": 0}) == {"owner/one:qa": 1.0}
    assert batch_shares({"tldr:qa": 9}, 0.5, {"*/*": 0.5}) == {"tldr:qa": 1.0}


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"tdlr": 2}, "'tdlr', which no pair comes from. Did you mean 'tldr'?"),
        ({"tldr": 0}, "every source out"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        batch_shares({"tldr:qa": 5}, 0.5, weights)


def test_each_source_and_task_is_a_dataset_and_the_small_ones_are_named() -> None:
    datasets, small = datasets_of(MIXED, 6)
    assert {name: len(dataset) for name, dataset in datasets.items()} == {
        "so:nl2code": 9, "tldr:nl2code": 30, "tldr:qa": 6,
    }  # fmt: skip
    assert small == {"grey:nl2code": 4, "mine:nl2code": 5}
    assert datasets["tldr:qa"].column_names == ["query", "document"]


def test_a_pair_with_too_few_negatives_gets_documents_of_other_queries() -> None:
    own = pairs("s", 10)
    own[3] = Pair("nl2code", own[3].query, own[3].document, "s", "python", ("hard 1", "hard 2"))
    own[4] = Pair("nl2code", own[4].query, own[4].document, "s", "python", ("hard 3",))
    own.append(Pair("nl2code", own[4].query, "another answer", "s", "python"))
    random.Random(0).shuffle(own)
    dataset = datasets_of(own, 2, seed=3)[0]["s:nl2code"]
    assert dataset.column_names == ["query", "document", "negative_1", "negative_2"]
    answers = {pair.query: {p.document for p in own if p.query == pair.query} for pair in own}
    for pair, row in zip(own, dataset, strict=True):
        negatives = (row["negative_1"], row["negative_2"])
        assert negatives[: len(pair.negatives)] == pair.negatives
        assert answers[pair.query].isdisjoint(negatives)
        assert negatives[0] != negatives[1]
    assert dataset.to_dict() == datasets_of(own, 2, seed=3)[0]["s:nl2code"].to_dict()


def test_a_part_with_one_answer_only_still_fills_its_rows() -> None:
    own = [Pair("qa", f"q {n}", "the answer", "s", "text", ("wrong",) if n else ()) for n in range(4)]
    dataset = datasets_of(own, 2)[0]["s:qa"]
    assert len(dataset["negative_1"]) == 4


@pytest.mark.parametrize(
    ("sizes", "most", "level"),
    [([5, 100, 100], 65, 30), ([5, 10], 100, 10), ([9, 9, 9], 10, 3), ([], 10, 0), ([7], 7, 7)],
)
def test_a_limit_in_all_is_shared_out_by_one_cap(sizes: list[int], most: int, level: int) -> None:
    assert even_cap(sizes, most) == level
    assert sum(min(size, level) for size in sizes) <= most
