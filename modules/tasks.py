"""The five retrieval tasks, and the families of instruction prefixes that models are trained with.

The tasks are those of jina-code-embeddings (arXiv 2508.21290, Table 1). A prefix goes in front of a text
before it is tokenised; query and document side have their own. Which prefixes a model has is a value of the
model: its prompt family, saved as sentence-transformers' `prompts` dictionary under the names
`<task>_query` and `<task>_document`. `prompt_families.toml` is the only place where
a prefix is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from codequarry.common.errors import UserError, did_you_mean
from codequarry.common.files import read_rows

Side = Literal["query", "document"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True)
class Task:
    """One retrieval task.

    name: how users, prompts, pairs and recipes call it.
    searches_with, searches_for: what each side is, for help texts and cards.
    """

    name: str
    searches_with: str
    searches_for: str


_ROWS = (
    Task("nl2code", "a question or description in plain words", "code"),
    Task("qa", "a technical question", "an answer or a section of documentation"),
    Task("code2code", "a piece of code", "code that does the same, in any language"),
    Task("code2nl", "a piece of code", "the comment or docstring that describes it"),
    Task("code2completion", "the beginning of a piece of code", "code that continues it"),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ROWS})
DEFAULT_TASK = "nl2code"


def get_task(name: str) -> Task:
    """The task called `name`.

    Raises UserError for any other name, with the nearest right one and the whole list.
    """
    if name in TASKS:
        return TASKS[name]
    raise UserError(f"{name!r} is not a task.{did_you_mean(name, TASKS)} The tasks are {', '.join(TASKS)}.")


def prompt_name(task: str, side: Side) -> str:
    """The name of a task's prompt on one side, the same in every family, e.g. `nl2code_query`.

    Raises UserError for an unknown task or side.
    """
    if side not in SIDES:
        raise UserError(f"{side!r} is not a side of a task: pass one of {', '.join(SIDES)}.")
    return f"{get_task(task).name}_{side}"


@dataclass(frozen=True)
class PromptFamily:
    """The prefixes that a model was trained with.

    Arguments:
        name: how recipes call it; None for a family that is not registered in `FAMILIES`.
        prefixes: of each task, that of the query and that of the document; "" for no prefix.
        default_task: whose prefixes the plain prompts `query` and `document` are, so that callers which know
            only those names (`encode_query`, txtai, MTEB's wrapper) put the right prefix on the right side.

    Raises UserError unless every task has its two prefixes.

    >>> family = PromptFamily("plain", {task: ("query: ", "passage: ") for task in TASKS})
    >>> family.prefix("qa", "document")
    'passage: '
    """

    name: str | None
    prefixes: Mapping[str, Sequence[str]]
    default_task: str = DEFAULT_TASK

    def __post_init__(self) -> None:
        if set(self.prefixes) != set(TASKS):
            raise UserError(
                f"prompt family {self.name!r} has prefixes for {', '.join(self.prefixes) or 'no task'}: "
                f"give two for each of {', '.join(TASKS)}."
            )
        get_task(self.default_task)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of its tasks."""
        return tuple(self.prefixes)

    def prefix(self, task: str, side: Side) -> str:
        """The prefix of one side of a task. Raises UserError for an unknown task or side."""
        return self.prompts()[prompt_name(task, side)]

    def prompts(self) -> dict[str, str]:
        """Every prompt a model carries, by name: two a task, and plain `query` and `document`.

        >>> len(FAMILIES["code"].prompts())
        12
        """
        named = {
            prompt_name(task, side): prefix
            for task, both in self.prefixes.items()
            for side, prefix in zip(SIDES, both, strict=True)
        }
        return named | dict(zip(SIDES, self.prefixes[self.default_task], strict=True))


DEFAULT_FAMILY = "code"
FAMILIES: Mapping[str, PromptFamily] = MappingProxyType(
    {str(row.name): row for row in read_rows(Path(__file__).with_name("prompt_families.toml"), PromptFamily)}
)
CODE = FAMILIES[DEFAULT_FAMILY]


def get_family(name: str) -> PromptFamily:
    """The registered family called `name`. Raises UserError for any other name, with the list."""
    if name in FAMILIES:
        return FAMILIES[name]
    raise UserError(f"{name!r} is not a prompt family: the families are {', '.join(FAMILIES)}.")


def family_of(saved: Mapping[str, str | None]) -> PromptFamily:
    """The family in a model's saved prompts: `model.prompts`, or those of its configuration.

    It is the registered family with these texts, else one of the texts themselves, without a name. Prompts
    under other names are ignored.

    Raises UserError where `wrong_prompts` names something.

    >>> family_of(codequarry.load("mini").prompts).name
    'code'
    """
    if wrong := wrong_prompts(saved):
        raise UserError(
            f"the prompts are no whole family: {', '.join(wrong)} missing or different. A family has "
            f"<task>_query and <task>_document for each of {', '.join(TASKS)}, and plain query and document "
            "with the texts of one of them; a registered family has every text as registered."
        )
    nearest = _nearest(saved)
    if not _differing(saved, nearest):
        return nearest
    texts = {name: str(text) for name, text in saved.items()}
    prefixes = {task: (texts[f"{task}_query"], texts[f"{task}_document"]) for task in TASKS}
    return PromptFamily(None, prefixes, _default_task(saved) or DEFAULT_TASK)


def wrong_prompts(saved: Mapping[str, str | None]) -> list[str]:
    """The names of the prompts for which a model's saved prompts are no family; [] for a family.

    These are the missing names; `query` and `document` where they have the texts of no task; and, where more
    than half of the texts are those of a registered family, all that differ from it: such prompts are a
    damaged copy of that family, not another one.
    """
    nearest = _nearest(saved)
    differing = _differing(saved, nearest)
    texts = [text for text in nearest.prompts().values() if text]
    if not differing or 2 * _shared(saved, nearest) > len(texts):
        return differing
    if missing := [name for name in nearest.prompts() if not isinstance(saved.get(name), str)]:
        return missing
    return [] if _default_task(saved) else list(SIDES)


def _nearest(saved: Mapping[str, str | None]) -> PromptFamily:
    return min(
        FAMILIES.values(), key=lambda family: (bool(_differing(saved, family)), -_shared(saved, family))
    )


def _differing(saved: Mapping[str, str | None], family: PromptFamily) -> list[str]:
    return [name for name, text in family.prompts().items() if saved.get(name) != text]


def _shared(saved: Mapping[str, str | None], family: PromptFamily) -> int:
    """How many saved prompts are a text of `family`, under whichever name: two sides may be exchanged."""
    texts = [text for text in family.prompts().values() if text]
    return sum(saved.get(name) in texts for name in family.prompts())


def _default_task(saved: Mapping[str, str | None]) -> str | None:
    return next(
        (task for task in TASKS if all(saved.get(side) == saved.get(f"{task}_{side}") for side in SIDES)),
        None,
    )
