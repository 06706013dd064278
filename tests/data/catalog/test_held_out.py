import re

import pytest

from codequarry.data.catalog.held_out import NEVER_MINED, NeverMined, refuse
from codequarry.data.catalog.registry import EVAL_SOURCES
from codequarry.data.catalog.schema import Distribution, Git

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


@pytest.mark.parametrize("row", NEVER_MINED, ids=lambda row: row.repository)
def test_every_row_names_owner_and_repository_and_says_why(row: NeverMined) -> None:
    assert re.fullmatch(r"[\w.-]+/([\w.-]+|\*)", row.repository)
    assert row.reason
