"""What a model takes from the three papers it stands on, and what it leaves, read from its fields."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codequarry.model_card.card import Card
from codequarry.modules.tasks import CODE

JINA, GEMMA, CODET5 = "jina-code-embeddings", "EmbeddingGemma", "CodeT5+"


@dataclass(frozen=True)
class Part:
    """One idea of a paper.

    what: the idea, in a few words. is_here: whether a model has it; None where its card cannot tell.
    """

    paper: str
    what: str
    is_here: Callable[[Card], bool | None]


def _recorded(field: str, holds: Callable[[Any], bool]) -> Callable[[Card], bool | None]:
    """Whether a hyperparameter that is set passes `holds`; None where no hyperparameter is recorded."""
    return lambda card: (
        (field in card.hyperparameters and holds(card.hyperparameters[field]))
        if card.hyperparameters
        else None
    )


def _never(card: Card) -> bool:
    return False


def _masked(card: Card) -> bool | None:
    if not card.hyperparameters:
        return None
    names = ("objective.false_negatives.same_query", "objective.false_negatives.same_document")
    return all(card.hyperparameters.get(name) for name in names)


def _has_prompts_of_jina(card: Card) -> bool:
    return dict(card.prompts) == CODE.prompts()


PARTS = (
    Part(JINA, "the five tasks and their prompts, word for word", _has_prompts_of_jina),
    Part(
        JINA,
        "vectors that can be cut short, by Matryoshka training",
        lambda card: len(card.dims) > 1,
    ),
    Part(
        JINA,
        "contrastive training of queries against the documents of their batch",
        _recorded("objective.directions", bool),
    ),
    Part(JINA, "a decoder, read at its last token", lambda card: card.pooling == "lasttoken"),
    Part(GEMMA, "no pair with the same query or document text counts as a negative", _masked),
    Part(
        GEMMA,
        "nearness to the vectors of a teacher",
        _recorded("objective.matching.teacher", bool),
    ),
    Part(
        GEMMA,
        "hard negatives that weigh more",
        _recorded("objective.hardness", lambda value: value != "none"),
    ),
    Part(
        GEMMA, "a loss that spreads vectors out", _recorded("objective.spread_out", lambda value: value > 0)
    ),
    Part(GEMMA, "an encoder taken from an encoder-decoder model", _never),
    Part(GEMMA, "an average of models trained on different mixtures", _never),
    Part(CODET5, "pretraining by span denoising and by generating code", _never),
    Part(CODET5, "negatives from a momentum encoder", _never),
    Part(CODET5, "a second model that matches a text with a piece of code", _never),
)


def taken_and_left(card: Card, paper: str) -> str:
    """One sentence a group: what of a paper is in this model, what is not, and what nobody recorded."""
    groups: dict[str, list[str]] = {"Taken": [], "Not taken": [], "Not recorded": []}
    for part in PARTS:
        if part.paper == paper:
            here = part.is_here(card)
            groups["Not recorded" if here is None else "Taken" if here else "Not taken"].append(part.what)
    return " ".join(f"{name}: {'; '.join(whats)}." for name, whats in groups.items() if whats)
