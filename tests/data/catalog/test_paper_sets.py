import re

from codequarry.data.catalog.paper_sets import HUB_SOURCES, PAPER_SETS
from codequarry.data.catalog.registry import TRAIN_SOURCES
from codequarry.data.catalog.schema import LICENCES
from codequarry.modules.tasks import TASKS


def test_the_paper_has_thirty_three_sets_in_five_tasks():
    counts = {task: sum(row.task == task for row in PAPER_SETS.values()) for task in TASKS}
    # Tables 3 and 4 of arXiv 2508.21290.
    assert counts == {"nl2code": 14, "qa": 9, "code2code": 8, "code2nl": 1, "code2completion": 1}


def test_a_row_is_complete():
    for row in PAPER_SETS.values():
        assert row.licence in LICENCES, row.name
        assert row.where or row.replaced_by or row.note, row.name
        assert set(row.replaced_by) <= {*TRAIN_SOURCES, "mined"}, row.name
        for place in row.where:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", place.dataset)
            assert place.revision is None or re.fullmatch(r"[0-9a-f]{40}", place.revision)


def test_what_a_model_wrote_is_marked():
    made = {row.name for row in PAPER_SETS.values() if row.licence == "LicenseRef-model-made"}
    assert made <= {row.name for row in PAPER_SETS.values() if row.synthetic}


def test_the_training_splits_of_mteb_have_a_reader_and_texts_before_judgements():
    assert len(HUB_SOURCES) == 10
    for row in HUB_SOURCES.values():
        kinds = [place.config.rpartition("-")[2] for place in row.where]
        assert kinds == ["corpus", "queries", kinds[2]] * (len(kinds) // 3)
        assert kinds[2] in ("default", "qrels")
        assert all(place.split == "train" for place in row.where[2::3])
        assert row.name not in TRAIN_SOURCES
