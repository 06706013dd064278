"""What is changed about a model to see what it costs: dimensions, stored precision, prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from codequarry.benchmarks.contenders import Contender
from codequarry.benchmarks.precision import Precision
from codequarry.modules.tasks import TASKS, Side

Prompts = Literal["own", "none", "sides", "task"]
# How rows and tables call a model with prompts that are not its own for the text.
WRONG_PROMPTS: Mapping[Prompts, str] = MappingProxyType(
    {"none": "no prompt", "sides": "sides swapped", "task": "task swapped"}
)


@dataclass(frozen=True)
class Variant:
    """One change to a model.

    section: of the results file: `dims`, `precisions` or `prompts`.
    name: how a row and a table call it.
    dims: numbers a vector is cut to, unit length again; None for all.
    prompts: the model's `own`, `none`, those of the other `sides`, or those of the next `task`.
    """

    section: str
    name: str
    dims: int | None = None
    precision: Precision = "float32"
    prompts: Prompts = "own"


def variants_of(
    contender: Contender,
    *,
    dims: Sequence[int],
    precisions: Sequence[Precision],
    wrong_prompts: Sequence[Prompts],
) -> list[Variant]:
    """The variants of a model that were asked for.

    A model without prompts has no prompts to go wrong: it gets none of those. One that has not those of our
    five tasks has no other task's.

    Raises ValueError for a dimension that the model does not have.
    """
    for size in dims:
        if not 0 < size <= contender.dims:
            raise ValueError(
                f"{contender.label} has vectors of {contender.dims} numbers: they cannot be cut to {size}."
            )
    found = [Variant("dims", f"{size} dims", dims=size) for size in dims]
    found += [Variant("precisions", precision, precision=precision) for precision in precisions]
    if has_prompts(contender):
        found += [
            Variant("prompts", WRONG_PROMPTS[change], prompts=change)
            for change in wrong_prompts
            if change != "task" or contender.ours
        ]
    return found


def has_prompts(contender: Contender) -> bool:
    """Whether the model puts anything in front of a text."""
    return any(contender.prompt(task, side) for task in TASKS for side in ("query", "document"))


def prompt_of(contender: Contender, task: str, side: Side, prompts: Prompts) -> str:
    """What goes in front of a text of one of our tasks under a change of prompts."""
    if prompts == "none":
        return ""
    if prompts == "task":
        return contender.prompt(other_task(task), side)
    if prompts == "sides":
        return contender.prompt(task, "document" if side == "query" else "query")
    return contender.prompt(task, side)


def other_task(task: str) -> str:
    """The task whose prompts a swap takes: the next of the five, after the last the first."""
    names = list(TASKS)
    return names[(names.index(task) + 1) % len(names)]
