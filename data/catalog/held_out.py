"""Repositories that no training pair may come from, and why: one row each, and the check."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class NeverMined:
    """One repository that is kept away from training.

    repository: `owner/name`; `owner/*` for all of an owner's.
    reason: what it is kept for.
    parts: whether a training source may read a part of it that evaluation does not use, by a reader of its
        own; mining it is refused all the same.
    common_name: whether unrelated repositories bear the same name, so that only the owner tells. Otherwise
        the name alone is refused: a fork holds the same code.
    """

    repository: str
    reason: str
    parts: bool = False
    common_name: bool = False


_HELD_OUT = "held out: an evaluation set shares its code or its authors"
_EVALUATION = "an evaluation set is made of it"
_COMPLETION = "the completion set is made of its functions"
_BENCHMARK = "kept for the benchmark on a whole repository"

NEVER_MINED: tuple[NeverMined, ...] = (
    NeverMined("tornadoweb/tornado", _HELD_OUT),
    NeverMined("biopython/biopython", _HELD_OUT),
    NeverMined("celery/celery", _HELD_OUT),
    NeverMined("JodaOrg/joda-time", _HELD_OUT),
    NeverMined("jhy/jsoup", _HELD_OUT),
    NeverMined("apache/zookeeper", _HELD_OUT),
    NeverMined("gin-gonic/gin", _HELD_OUT),
    NeverMined("rclone/rclone", _HELD_OUT),
    NeverMined("sequelize/sequelize", _HELD_OUT),
    NeverMined("shaka-project/shaka-player", _HELD_OUT),
    NeverMined("cakephp/cakephp", _HELD_OUT),
    NeverMined("doctrine/orm", _HELD_OUT, common_name=True),
    NeverMined("doctrine/doctrine2", _HELD_OUT),  # what doctrine/orm was called
    NeverMined("mongodb/mongoid", _HELD_OUT),
    NeverMined("lsegal/yard", _HELD_OUT),
    NeverMined("CocoaPods/CocoaPods", _HELD_OUT),
    NeverMined("image-rs/*", _HELD_OUT),
    NeverMined("rust-ndarray/ndarray", _HELD_OUT),
    NeverMined("Humanizr/Humanizer", _HELD_OUT),
    NeverMined("typeorm/typeorm", _HELD_OUT),
    NeverMined("openai/human-eval", _EVALUATION),
    NeverMined("deepseek-ai/DeepSeek-Coder", _EVALUATION),
    NeverMined("yassine-turin/ds1000-codegen-eval", _EVALUATION),
    NeverMined("xlang-ai/DS-1000", _EVALUATION),
    NeverMined("shilliscmu/TranxConalaBaseline", _EVALUATION, parts=True),
    NeverMined("sriniiyer/codenn", _EVALUATION, parts=True),
    NeverMined("doocs/leetcode", _EVALUATION, parts=True),
    NeverMined("kamyu104/LeetCode-Solutions", _EVALUATION, parts=True),
    NeverMined("microsoft/CodeXGLUE", _EVALUATION, parts=True),
    NeverMined("bgloyer/RosettaCodeData", _EVALUATION, parts=True),
    NeverMined("amazon-science/mxeval", _EVALUATION),
    NeverMined("vuejs/docs", _EVALUATION, common_name=True),
    NeverMined("rust-lang/book", _EVALUATION, common_name=True),
    NeverMined("rust-lang/rust-by-example", _EVALUATION),
    NeverMined("microsoft/TypeScript-Website", _EVALUATION),
    NeverMined("MicrosoftDocs/WSL", _EVALUATION),
    NeverMined("pallets/flask", _COMPLETION),
    NeverMined("encode/httpx", _COMPLETION),
    NeverMined("python-attrs/attrs", _COMPLETION),
    NeverMined("networkx/networkx", _COMPLETION),
    NeverMined("sympy/sympy", _COMPLETION),
    NeverMined("google/gson", _BENCHMARK),
    NeverMined("nlohmann/json", _BENCHMARK, common_name=True),
    NeverMined("sharkdp/fd", _BENCHMARK),
    NeverMined("spf13/cobra", _BENCHMARK),
    NeverMined("pallets/click", _BENCHMARK),
    NeverMined("expressjs/express", _BENCHMARK),
    NeverMined("psf/requests", _BENCHMARK),
)


def refuse(repository: str, *, parts: bool = False) -> None:
    """Raise ValueError where a repository, or a fork of it, is kept away from training.

    Arguments:
        repository: `owner/name`, a URL, or a folder; blind to case and to `.git`.
        parts: the caller reads a part of it with a reader of its own and mines nothing.

    >>> refuse("https://github.com/someone/Tornado.git")
    Traceback (most recent call last):
    ValueError: https://github.com/someone/Tornado.git is never mined, as it is or shares its name with \
tornadoweb/tornado (held out: an evaluation set shares its code or its authors): take it off the list.
    """
    found = _kept(repository)
    if found is None or (parts and found.parts):
        return
    raise ValueError(
        f"{repository} is never mined, as it is or shares its name with {found.repository} "
        f"({found.reason}): take it off the list."
    )


def _kept(repository: str) -> NeverMined | None:
    cells = [cell for cell in re.split(r"[/:\\]", repository.strip().lower()) if cell]
    # A bare mirror may be called `owner+name`, or `name.git`.
    cells = [part.removesuffix(".git") for cell in cells for part in cell.split("+") if part]
    owner, name = (["", "", *cells])[-2:]
    for row in NEVER_MINED:
        kept_owner, _, kept_name = row.repository.lower().partition("/")
        if owner == kept_owner and kept_name in (name, "*"):
            return row
        if name == kept_name and not row.common_name:
            return row
    return None
