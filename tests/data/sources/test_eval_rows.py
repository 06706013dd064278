import re

import pytest

from codequarry.data.languages import BY_NAME
from codequarry.data.sources.eval_rows import EVAL_SOURCES, get_eval_source
from codequarry.data.sources.licences import get_licence
from codequarry.data.sources.schema import Distribution, EvalSource, Git
from codequarry.modules.tasks import TASKS


@pytest.fixture(params=EVAL_SOURCES.values(), ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> EvalSource:
    found: EvalSource = request.param
    return found


def test_every_row_names_a_task_a_licence_and_languages_that_exist(row: EvalSource) -> None:
    assert row.task in TASKS
    assert get_licence(row.licence)
    assert set(row.languages) <= set(BY_NAME)


def test_every_place_is_pinned(row: EvalSource) -> None:
    assert row.where
    for place in row.where:
        if isinstance(place, Git):
            assert re.fullmatch(r"[0-9a-f]{40}", place.commit)
            assert place.paths
            assert all(pattern.startswith(("/", "!")) for pattern in place.paths)
        else:
            assert isinstance(place, Distribution)
            assert re.fullmatch(r"[0-9a-f]{64}", place.sha256)


def test_every_row_says_how_far_its_scores_may_be_compared(row: EvalSource) -> None:
    assert row.faithful.endswith(".")
    assert row.queries
    assert row.documents


def test_every_task_has_a_set_that_counts() -> None:
    assert {row.task for row in EVAL_SOURCES.values() if row.in_mean} == set(TASKS)


def test_an_unknown_set_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="'human_eval' is no evaluation set: the sets are humaneval, mbpp, "):
        get_eval_source("human_eval")
