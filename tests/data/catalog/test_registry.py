import re

import pytest

from codequarry.data.catalog.registry import (
    EVAL_SOURCES,
    TRAIN_SOURCES,
    get_eval_source,
    held_out,
    hub_sources,
    mined_repositories,
    paper_sets,
    refuse,
)
from codequarry.data.catalog.schema import LICENCES, Distribution, EvalSource, Git, HeldOut, get_licence
from codequarry.data.parsing.languages import BY_NAME, LANGUAGES
from codequarry.modules.tasks import TASKS

# The files that our first training data came in. Two of them held texts under several licences, and are
# several rows here.
FIRST_DATA = {
    "cheatsheets": ["cheatsheets"],
    "conala": ["conala"],
    "concode": ["concode"],
    "docs_techqa": ["docs_techqa", "symfony_techqa"],
    "errors_techqa": ["errors_techqa"],
    "gfg_code2code": ["gfg_code2code"],
    "interview_techqa": ["interview_techqa"],
    "leetcode_code2code": ["leetcode_code2code"],
    "nl2bash": ["nl2bash"],
    "powershell": ["powershell"],
    "rosetta_code2code": ["rosetta_code2code"],
    "rosetta_code2nl": ["rosetta_code2nl"],
    "rosetta_nl2code": ["rosetta_nl2code"],
    "snippets30": ["snippets30"],
    "so_codenn": ["so_codenn"],
    "sodocs_nl2code": ["sodocs_nl2code"],
    "sodocs_techqa": ["sodocs_techqa"],
    "text2sql_other": ["text2sql_advising", "text2sql_other", "spider"],
    "tldr": ["tldr"],
    "tldr_techqa": ["tldr_techqa"],
    "wikisql": ["wikisql"],
}


def test_every_file_of_the_first_data_has_its_rows_and_no_row_is_left_over():
    assert sorted(name for names in FIRST_DATA.values() for name in names) == sorted(TRAIN_SOURCES)


@pytest.mark.parametrize("row", TRAIN_SOURCES.values(), ids=TRAIN_SOURCES)
def test_a_row_is_complete(row):
    assert row.licence in LICENCES
    assert row.where
    assert row.languages
    assert row.note.endswith(".")
    assert row.tasks
    assert set(row.tasks) <= set(TASKS)
    assert row.size is None or row.size > 0
    assert re.fullmatch(r"[a-z0-9_]+", row.name)  # it becomes a file name
    for place in row.where:
        assert isinstance(place, Git)
        assert re.fullmatch(r"[0-9a-f]{40}", place.commit)
        assert place.paths, "a whole repository is never what is meant"
        refuse(place.repository, parts=True)


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
    sentence = "'human_eval' is no evaluation set: the sets are humaneval, mbpp, .* Did you mean 'humaneval'?"
    with pytest.raises(ValueError, match=sentence):
        get_eval_source("human_eval")


def test_the_paper_has_thirty_three_sets_in_five_tasks():
    counts = {task: sum(row.task == task for row in paper_sets().values()) for task in TASKS}
    # Tables 3 and 4 of arXiv 2508.21290.
    assert counts == {"nl2code": 14, "qa": 9, "code2code": 8, "code2nl": 1, "code2completion": 1}


def test_a_row_of_the_paper_is_complete():
    for row in paper_sets().values():
        assert row.licence in LICENCES, row.name
        assert row.where or row.replaced_by or row.note, row.name
        assert set(row.replaced_by) <= {*TRAIN_SOURCES, "mined"}, row.name
        for place in row.where:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", place.dataset)
            assert place.revision is None or re.fullmatch(r"[0-9a-f]{40}", place.revision)


def test_what_a_model_wrote_is_marked():
    made = {row.name for row in paper_sets().values() if row.licence == "LicenseRef-model-made"}
    assert made <= {row.name for row in paper_sets().values() if row.synthetic}


def test_the_training_splits_of_mteb_have_a_reader_and_texts_before_judgements():
    assert len(hub_sources()) == 10
    for row in hub_sources().values():
        kinds = [place.config.rpartition("-")[2] for place in row.where]
        assert kinds == ["corpus", "queries", kinds[2]] * (len(kinds) // 3)
        assert kinds[2] in ("default", "qrels")
        assert all(place.split == "train" for place in row.where[2::3])
        assert row.name not in TRAIN_SOURCES


def test_every_repository_is_pinned_permissive_and_allowed():
    for row in mined_repositories():
        licence = LICENCES[row.licence]
        assert licence.commercial, row
        assert licence.redistributable, row
        assert not licence.share_alike, row
        assert re.fullmatch(r"[0-9a-f]{40}", row.commit), row
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", row.name), row
        refuse(row.name)


def test_no_repository_comes_twice():
    names = [row.name.lower() for row in mined_repositories()]
    assert len(set(names)) == len(names)


def test_ten_languages_have_repositories():
    assert len(mined_repositories()) >= 150
    assert len({row.language for row in mined_repositories()}) >= 10
    assert {row.language for row in mined_repositories()} <= {language.name for language in LANGUAGES}


# The list that was agreed on when the evaluation sets were made.
HELD_OUT = [
    "tornado",
    "biopython",
    "celery",
    "joda-time",
    "jsoup",
    "zookeeper",
    "gin",
    "rclone",
    "sequelize",
    "shaka-player",
    "cakephp",
    "doctrine/orm",
    "mongoid",
    "yard",
    "CocoaPods",
    "image-rs/image",
    "ndarray",
    "Humanizer",
    "typeorm",
]
FOR_BENCHMARKS = [
    "google/gson",
    "nlohmann/json",
    "sharkdp/fd",
    "spf13/cobra",
    "pallets/click",
    "expressjs/express",
    "psf/requests",
]


@pytest.mark.parametrize("name", [*HELD_OUT, *FOR_BENCHMARKS])
def test_what_is_held_out_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="never mined"):
        refuse(name)


@pytest.mark.parametrize(
    "spelling",
    [
        "tornadoweb/tornado",
        "TornadoWeb/Tornado",
        "https://github.com/tornadoweb/tornado",
        "https://github.com/tornadoweb/tornado.git",
        "https://github.com/tornadoweb/tornado/",
        "git@github.com:tornadoweb/tornado.git",
        "someone/tornado",
        "clones/tornadoweb+tornado",
        "clones/tornado.git",
        " tornado ",
        "image-rs/anything",
        "https://github.com/Image-RS/anything.git",
    ],
)
def test_a_repository_is_refused_however_it_is_written(spelling: str) -> None:
    with pytest.raises(ValueError, match=re.escape(spelling)):
        refuse(spelling)


@pytest.mark.parametrize(
    "repository",
    ["someone/orm", "someone/docs", "someone/json", "tornadoweb/other", "someone/tornado-extras"],
)
def test_others_are_not(repository: str) -> None:
    refuse(repository)


def test_a_part_of_some_may_be_read_but_never_mined() -> None:
    refuse("sriniiyer/codenn", parts=True)
    with pytest.raises(ValueError, match="an evaluation set is made of it"):
        refuse("sriniiyer/codenn")
    with pytest.raises(ValueError, match="never mined"):
        refuse("pallets/click", parts=True)


@pytest.mark.parametrize("row", EVAL_SOURCES.values(), ids=lambda row: row.name)
def test_every_source_of_an_evaluation_set_is_refused(row: object) -> None:
    for place in EVAL_SOURCES[row.name].where:  # type: ignore[attr-defined]
        names = {Git: "repository", Distribution: "package"}
        with pytest.raises(ValueError, match="never mined"):
            refuse(getattr(place, names[type(place)]))


@pytest.mark.parametrize("row", held_out(), ids=lambda row: row.repository)
def test_every_row_names_owner_and_repository_and_says_why(row: HeldOut) -> None:
    assert re.fullmatch(r"[\w.-]+/([\w.-]+|\*)", row.repository)
    assert row.reason
