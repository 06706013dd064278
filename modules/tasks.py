"""The five retrieval tasks and their instruction prefixes: the only place where a prefix is written.

The tasks and strings are those of jina-code-embeddings (arXiv 2508.21290, Table 1). A prefix goes in front
of a text before it is tokenised; query and document side have their own. Prompt names are
`<task>_query` and `<task>_document`, as sentence-transformers' `prompts` dictionary wants them.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Side = Literal["query", "document"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True)
class Task:
    """One retrieval task.

    name: how users, prompts, pairs and recipes call it.
    query, document: the prefix of each side, trailing newline included.
    searches_with, searches_for: what each side holds, in plain words (for help texts and cards).
    """

    name: str
    query: str
    document: str
    searches_with: str
    searches_for: str

    def prefix(self, side: Side) -> str:
        """The instruction prefix of one side."""
        return self.query if side == "query" else self.document


_ROWS = (
    Task(
        "nl2code",
        "Find the most relevant code snippet given the following query:\n",
        "Candidate code snippet:\n",
        "a question or description in plain words",
        "code",
    ),
    Task(
        "qa",
        "Find the most relevant answer given the following question:\n",
        "Candidate answer:\n",
        "a technical question",
        "an answer or a section of documentation",
    ),
    Task(
        "code2code",
        "Find an equivalent code snippet given the following code snippet:\n",
        "Candidate code snippet:\n",
        "a piece of code",
        "code that does the same, in any language",
    ),
    Task(
        "code2nl",
        "Find the most relevant comment given the following code snippet:\n",
        "Candidate comment:\n",
        "a piece of code",
        "the comment or docstring that describes it",
    ),
    Task(
        "code2completion",
        "Find the most relevant completion given the following start of code snippet:\n",
        "Candidate completion:\n",
        "the beginning of a piece of code",
        "code that continues it",
    ),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ROWS})
DEFAULT_TASK = "nl2code"


def get_task(name: str) -> Task:
    """The task called `name`.

    Raises ValueError for any other name, with the nearest right one and the whole list.
    """
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name, TASKS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{name!r} is not a task: {hint}The tasks are {', '.join(TASKS)}.")


def prompt_name(task: str, side: Side) -> str:
    """The name of a task's prompt on one side, e.g. `nl2code_query`.

    Raises ValueError for an unknown task or side.
    """
    if side not in SIDES:
        raise ValueError(f"{side!r} is not a side of a task: pass one of {', '.join(SIDES)}.")
    return f"{get_task(task).name}_{side}"


def prompts() -> dict[str, str]:
    """Every prompt a model carries, by name: ten of the five tasks, and plain `query` and `document`.

    The plain two equal nl2code, so that callers which know only those names (`encode_query`, txtai, MTEB's
    wrapper) still put the right prefix on the right side.

    >>> prompts()["nl2code_document"]
    'Candidate code snippet:\\n'
    """
    named = {prompt_name(task.name, side): task.prefix(side) for task in _ROWS for side in SIDES}
    return named | {side: TASKS[DEFAULT_TASK].prefix(side) for side in SIDES}
