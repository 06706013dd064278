from itertools import pairwise

import pytest

from codequarry.data.pair import Pair
from codequarry.data.validation_split import split


def function(number: int) -> str:
    lines = "\n".join(
        f"    total_{number} = accumulate(total_{number}, values[{line}])" for line in range(14)
    )
    return f"def routine_{number}(values):\n{lines}\n    return total_{number}"


def mined(source: str = "owner/name", count: int = 400) -> list[Pair]:
    """Pairs as a mining run writes them: three kinds, each in the order of the files."""
    texts = [(f"what {source} does in routine {n}", function(n) + f"  # {source}") for n in range(count)]
    halves = [(code[: len(code) // 2], code[len(code) // 2 :]) for _, code in texts]
    return [
        *(Pair("nl2code", comment, code, source, "python") for comment, code in texts),
        *(Pair("code2nl", code, comment, source, "python") for comment, code in texts),
        *(Pair("code2completion", head, tail, source, "python") for head, tail in halves),
    ]


def others(source: str, task: str, count: int) -> list[Pair]:
    return [
        Pair(task, f"{source} {task} question {n}", f"answer {n} of {source}", source, "en")
        for n in range(count)
    ]


def texts_of(pairs: list[Pair]) -> set[str]:
    return {text for pair in pairs for text in (pair.query, pair.document, *pair.negatives)}


def test_no_text_of_a_validation_pair_stays_in_training() -> None:
    pairs = mined() + others("faq", "qa", 300)
    pairs += [
        Pair("nl2code", f"another way to say {n}", function(n) + "  # owner/name", "copy", "python")
        for n in range(400)
    ]
    found = split(pairs, share=0.1)
    assert len(found.validation) > 80
    assert not texts_of(found.validation) & texts_of(found.train)
    assert found.set_aside > 0
    assert len(found.train) + len(found.validation) + found.set_aside == len(pairs)


def test_the_halves_of_a_function_follow_it() -> None:
    found = split(mined(), share=0.1)
    numbers = {pair.query.split()[-1] for pair in found.validation if pair.task == "nl2code"}
    trained = [pair.query for pair in found.train if pair.task == "code2completion"]
    assert len(numbers) > 20
    assert len(trained) > 200
    assert not [head for head in trained for n in numbers if head.startswith(f"def routine_{n}(")]


def test_a_negative_that_validates_is_taken_off_its_pair() -> None:
    pairs = others("faq", "qa", 400)
    with_negatives = [
        Pair(p.task, p.query, p.document, p.source, p.language, (pairs[(n + 7) % 400].document, "wrong"))
        for n, p in enumerate(pairs)
    ]
    found = split(with_negatives, share=0.1)
    assert {len(pair.negatives) for pair in found.train} == {1, 2}
    assert not {p.document for p in found.validation} & texts_of(found.train)


def test_the_same_pairs_give_the_same_split_and_another_seed_another() -> None:
    pairs = mined() + others("faq", "qa", 300)
    assert split(pairs, share=0.1) == split(list(pairs), share=0.1)
    assert split(pairs, share=0.1).validation != split(pairs, share=0.1, seed=1).validation


def test_pairs_keep_their_side_when_a_source_is_added() -> None:
    pairs = others("faq", "qa", 500)
    before = {pair.query for pair in split(pairs, share=0.1).validation}
    after = {
        p.query for p in split(others("aaa", "qa", 500) + pairs, share=0.1).validation if p.source == "faq"
    }
    assert before == after


def test_neighbours_are_held_out_together() -> None:
    pairs = others("faq", "qa", 2000)
    held = [
        int(pair.query.split()[-1]) for pair in split(pairs, share=0.1, per_source_and_task=200).validation
    ]
    runs = 1 + sum(second != first + 1 for first, second in pairwise(held))
    assert len(held) > 150
    assert len(held) / runs > 4, "pairs drawn one by one would give runs of 1.1"


def test_order_is_kept_and_training_pairs_are_untouched() -> None:
    pairs = others("faq", "qa", 500)
    found = split(pairs, share=0.1)
    assert found.train == [pair for pair in pairs if pair not in found.validation]
    assert found.validation == [pair for pair in pairs if pair in found.validation]


def test_every_source_gives_no_more_than_its_share_and_its_cap() -> None:
    pairs = others("small", "qa", 100) + others("middle", "qa", 1000) + others("large", "qa", 5000)
    counts = split(pairs, share=0.05, per_source_and_task=80).validation_counts
    assert counts["small:qa"] <= 5
    assert 30 <= counts["middle:qa"] <= 50
    assert 60 <= counts["large:qa"] <= 80
    assert split(others("tiny", "qa", 19), share=0.05).validation == []


def test_the_total_is_shared_evenly_by_the_tasks_and_then_by_their_sources() -> None:
    pairs = others("small", "qa", 200) + others("large", "qa", 5000) + others("larger", "nl2code", 5000)
    found = split(pairs, share=0.1, per_source_and_task=500, max_pairs=240)
    counts = found.validation_counts
    assert len(found.validation) <= 240
    assert 100 < counts["larger:nl2code"] <= 120
    assert 10 < counts["small:qa"] <= 20
    assert 85 < counts["large:qa"] <= 100, "what the small one cannot give"


def test_mined_repositories_are_one_source_together() -> None:
    pairs = [pair for n in range(30) for pair in others(f"owner/{n}", "nl2code", 40)] + others(
        "set", "nl2code", 1200
    )
    found = split(pairs, per_source_and_task=60, share=0.5)
    assert set(found.validation_counts) == {"*/*:nl2code", "set:nl2code"}
    assert found.validation_counts["*/*:nl2code"] <= 60
    assert len({pair.source for pair in found.validation}) > 4


def test_a_text_that_many_share_trains() -> None:
    same = [Pair("qa", f"question {n}", "it depends", "forum", "en") for n in range(300)]
    found = split(same, share=0.1)
    assert found.validation == []
    assert found.train == same


def test_by_task_gives_what_the_evaluator_takes() -> None:
    found = split(mined(), share=0.1)
    assert list(found.by_task) == ["code2completion", "code2nl", "nl2code"]
    assert sum(map(len, found.by_task.values())) == len(found.validation)


@pytest.mark.parametrize("pairs", [[], others("faq", "qa", 3)])
def test_too_few_pairs_all_train(pairs: list[Pair]) -> None:
    found = split(pairs)
    assert found.train == pairs
    assert found.validation == []
    assert found.set_aside == 0
