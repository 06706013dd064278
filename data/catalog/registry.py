"""Every data set by name: training sources, evaluation sets, and the licences of their texts."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from codequarry.common.errors import UserError, did_you_mean
from codequarry.data.catalog.datasets import (
    code_translation,
    completion,
    documentation,
    interviews,
    leetcode,
    rosetta,
    shell,
    stack_overflow,
    text_to_code,
    text_to_sql,
)
from codequarry.data.catalog.fetch import mteb_retrieval
from codequarry.data.catalog.schema import (
    LICENCES,
    EvalSource,
    HeldOut,
    Licence,
    PaperSet,
    Repository,
    TrainSource,
    read_rows,
)

_MODULES = (
    code_translation, completion, documentation, interviews, leetcode, rosetta, shell, text_to_code,
    stack_overflow, text_to_sql,
)  # fmt: skip
TRAIN_SOURCES: Mapping[str, TrainSource] = MappingProxyType(
    {row.name: row for module in _MODULES for row in getattr(module, "TRAIN_SOURCES", ())}
)

# The order of tables and messages.
_EVAL_ORDER = (
    "humaneval", "mbpp", "ds1000", "conala", "so_codenn", "leetcode_p2s", "codesearchnet_real",
    "rosetta_py_cpp", "codexglue_java_cs", "mbxp_code2nl", "docs_qa", "completion_py",
)  # fmt: skip
_EVAL_ROWS: list[EvalSource] = [row for module in _MODULES for row in getattr(module, "EVAL_SOURCES", ())]
EVAL_SOURCES: Mapping[str, EvalSource] = MappingProxyType(
    {row.name: row for row in sorted(_EVAL_ROWS, key=lambda row: _EVAL_ORDER.index(row.name))}
)


@cache
def mined_repositories() -> tuple[Repository, ...]:
    """The repositories that training pairs are mined from, as `repositories.toml` lists them."""
    return read_rows(Path(__file__).with_name("repositories.toml"), Repository)


@cache
def paper_sets() -> Mapping[str, PaperSet]:
    """The training sets of jina-code-embeddings by name, and what replaces each (`paper_sets.toml`)."""
    rows = read_rows(Path(__file__).with_name("paper_sets.toml"), PaperSet)
    return MappingProxyType({row.name: row for row in rows})


@cache
def hub_sources() -> Mapping[str, TrainSource]:
    """The paper's sets that have a reader, as sources that `build_train` takes by name."""
    return MappingProxyType(
        {
            row.name: TrainSource(
                row.name,
                (row.task,),
                row.where,
                row.licence,
                ("mixed",),
                mteb_retrieval(row.task, row.name, row.language),
                note=row.note,
            )
            for row in paper_sets().values()
            if row.language
        }
    )


def known_licences() -> dict[str, Licence]:
    """The licence of every source that has a row: data sets and mined repositories, by name."""
    sets = {row.name: row.licence for row in (*TRAIN_SOURCES.values(), *hub_sources().values())}
    repositories = {row.name: row.licence for row in mined_repositories()}
    return {name: LICENCES[spdx] for name, spdx in (sets | repositories).items()}


def get_eval_source(name: str) -> EvalSource:
    """The row of the evaluation set called `name`.

    Raises UserError for any other name, with the whole list.
    """
    if name in EVAL_SOURCES:
        return EVAL_SOURCES[name]
    hint = did_you_mean(name, EVAL_SOURCES)
    raise UserError(f"{name!r} is no evaluation set: the sets are {', '.join(EVAL_SOURCES)}.{hint}")


@cache
def held_out() -> tuple[HeldOut, ...]:
    """The repositories that no training pair may come from, as `held_out.toml` lists them."""
    return read_rows(Path(__file__).with_name("held_out.toml"), HeldOut)


def refuse(repository: str, *, parts: bool = False) -> None:
    """Raise UserError where a repository, or a fork of it, is kept away from training.

    Arguments:
        repository: `owner/name`, a URL, or a folder; case and `.git` are ignored.
        parts: the caller reads a part of it with a reader of its own and mines nothing.

    >>> refuse("https://github.com/someone/Tornado.git")
    Traceback (most recent call last):
    UserError: https://github.com/someone/Tornado.git is never mined, as it is or shares its name with \
tornadoweb/tornado (held out: an evaluation set shares its code or its authors): take it off the list.
    """
    found = _kept(repository)
    if found is None or (parts and found.parts):
        return
    raise UserError(
        f"{repository} is never mined, as it is or shares its name with {found.repository} "
        f"({found.reason}): take it off the list."
    )


def _kept(repository: str) -> HeldOut | None:
    cells = [cell for cell in re.split(r"[/:\\]", repository.strip().lower()) if cell]
    # A bare mirror may be called `owner+name`, or `name.git`.
    cells = [part.removesuffix(".git") for cell in cells for part in cell.split("+") if part]
    owner, name = (["", "", *cells])[-2:]
    for row in held_out():
        kept_owner, _, kept_name = row.repository.lower().partition("/")
        if owner == kept_owner and kept_name in (name, "*"):
            return row
        if name == kept_name and not row.common_name:
            return row
    return None
