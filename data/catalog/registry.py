"""Every data set by name: training sources, evaluation sets, and the licences of their texts."""

from collections.abc import Mapping
from types import MappingProxyType

from codequarry.data.catalog.datasets import (
    code_search_net,
    code_translation,
    compiler_errors,
    completion,
    documentation,
    interviews,
    leetcode,
    python_problems,
    rosetta,
    shell,
    stack_overflow,
    text_to_sql,
)
from codequarry.data.catalog.paper_sets import HUB_SOURCES
from codequarry.data.catalog.repositories import MINED_REPOSITORIES
from codequarry.data.catalog.schema import LICENCES, EvalSource, Licence, TrainSource

_TRAIN_ROWS = (
    *code_translation.TRAIN_SOURCES,
    *compiler_errors.TRAIN_SOURCES,
    *documentation.TRAIN_SOURCES,
    *interviews.TRAIN_SOURCES,
    *leetcode.TRAIN_SOURCES,
    *rosetta.TRAIN_SOURCES,
    *shell.TRAIN_SOURCES,
    *stack_overflow.TRAIN_SOURCES,
    *text_to_sql.TRAIN_SOURCES,
)
TRAIN_SOURCES: Mapping[str, TrainSource] = MappingProxyType({row.name: row for row in _TRAIN_ROWS})

# The order of tables and messages.
_EVAL_ORDER = (
    "humaneval", "mbpp", "ds1000", "conala", "so_codenn", "leetcode_p2s", "codesearchnet_real",
    "rosetta_py_cpp", "codexglue_java_cs", "mbxp_code2nl", "docs_qa", "completion_py",
)  # fmt: skip
_EVAL_ROWS = (
    *code_search_net.EVAL_SOURCES,
    *code_translation.EVAL_SOURCES,
    *completion.EVAL_SOURCES,
    *documentation.EVAL_SOURCES,
    *leetcode.EVAL_SOURCES,
    *python_problems.EVAL_SOURCES,
    *rosetta.EVAL_SOURCES,
    *stack_overflow.EVAL_SOURCES,
)
EVAL_SOURCES: Mapping[str, EvalSource] = MappingProxyType(
    {row.name: row for row in sorted(_EVAL_ROWS, key=lambda row: _EVAL_ORDER.index(row.name))}
)


def known_licences() -> dict[str, Licence]:
    """The licence of every source that has a row: data sets and mined repositories, by name."""
    sets = {row.name: row.licence for row in (*TRAIN_SOURCES.values(), *HUB_SOURCES.values())}
    repositories = {row.name: row.licence for row in MINED_REPOSITORIES}
    return {name: LICENCES[spdx] for name, spdx in (sets | repositories).items()}


def get_eval_source(name: str) -> EvalSource:
    """The row of the evaluation set called `name`.

    Raises ValueError for any other name, with the whole list.
    """
    if name in EVAL_SOURCES:
        return EVAL_SOURCES[name]
    raise ValueError(f"{name!r} is no evaluation set: the sets are {', '.join(EVAL_SOURCES)}.")
