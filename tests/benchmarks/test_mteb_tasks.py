from dataclasses import replace

import pytest

from codequarry.benchmarks.mteb_tasks import LocalTask, load_from_hub, official_tasks, revision
from codequarry.data.eval_set import EvalSet

SET = EvalSet("s", "qa", {"q0": "a", "q1": "b"}, {"d0": "A", "d1": "B"}, {"q0": {"d0": 1}, "q1": {"d1": 2}})


def test_a_task_holds_the_texts_and_judgments_of_its_set() -> None:
    part = LocalTask(SET).dataset["default"]["test"]
    assert list(part["queries"]) == [{"id": "q0", "text": "a"}, {"id": "q1", "text": "b"}]
    assert list(part["corpus"]["text"]) == ["A", "B"]
    assert part["relevant_docs"] == {"q0": {"d0": 1}, "q1": {"d1": 2}}
    assert part["top_ranked"] is None


def test_candidates_become_the_documents_to_rank() -> None:
    task = LocalTask(replace(SET, candidates={"q0": ["d1"]}))  # all compete for the other
    assert task.dataset["default"]["test"]["top_ranked"] == {"q0": ["d1"], "q1": ["d0", "d1"]}


def test_the_revision_changes_with_every_thing_that_is_scored() -> None:
    changed = (
        replace(SET, task="nl2code"),
        replace(SET, queries={"q0": "a", "q1": "c"}),
        replace(SET, documents={"d0": "A", "d1": "C"}),
        replace(SET, relevant={"q0": {"d0": 2}, "q1": {"d1": 2}}),
        replace(SET, candidates={"q0": ["d0"], "q1": ["d1"]}),
    )
    assert len({revision(SET), *map(revision, changed)}) == 6
    assert revision(replace(SET, name="other")) == revision(SET)


def test_a_hub_that_does_not_answer_is_a_sentence() -> None:
    (task,) = official_tasks(["MBPPRetrieval"])
    with pytest.raises(ValueError, match=r"MBPPRetrieval could not be loaded from the Hub.*score local sets"):
        load_from_hub(task)


def test_a_local_set_is_not_one_of_mtebs() -> None:
    with pytest.raises(ValueError, match="mbpp is a local set"):
        official_tasks(["mbpp"])
