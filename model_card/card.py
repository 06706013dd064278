"""The fields of a model card as plain data, and what they say about three papers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codequarry.modules.tasks import CODE

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Card:
    """The fields of one model's card. None, () and {} are printed as "not measured".

    name: the model's short name.
    load_as: what a user passes to `SentenceTransformer`: a Hub name or a folder.
    version: of codequarry, which built the release.
    dims: trained embedding sizes, largest first. max_length: tokens, prompt and special tokens included;
        None for a static model, a row per token, which reads whole texts.
    pooling: such as `mean`. prompts: those of its family, by name. parameters: how many there are.
    dtype, in_memory: `fp32`, `bf16` or `fp16`, of the weights on disk, and once loaded where the reader asks
        for nothing else.
    base_model: of the weights that training began with, `mini` or a Hub name. base_revision: its commit
        there. base_licence: SPDX; None where it is not known. base_trained_on: its training sets of
        which something is scored here; () where none is known.
    random_start: training began with random weights, so there is no base model.
    training_data: rows of `source`, `task`, `pairs`, `licence` (SPDX; None for your own code), `pairs_drawn`.
    decontamination: the report of `codequarry data clean`: `in`, `out`, `why`, `languages`, `limits`, and
        `eval_sets` of `texts` and `removed`.
    hyperparameters: recipe field to value, fields of tables with dots. scores: name to value, on pairs held
        out of the training data. steps, seconds: optimiser steps and wall time of the training, or of its
        last stage. earlier_stages: rows of `steps`, `seconds`, `batch_size`, `learning_rate` and `max_length`
        of the runs that it began with, the first one first.
    hardware, versions: of the training.
    results: a results file of the benchmarks, read as it is: `benchmark`, `command`, `date`, `hardware`,
        `versions`, `model` (the label of this model's own rows), `speed`, `rows` of `model`, `set`, `task`,
        `queries`, `documents`, `ndcg@10`, `low`, `high`, `mrr@10`, `recall@1`, and more such rows with a
        `variant` in `dims`, `precisions` and `prompts`; `languages`: rows of `language`, `set`, `queries`,
        `ndcg@10`. A row may say `in_mean` (False: left out of means), and `dataset` and `dataset_revision`
        (where its texts are on the Hub).
    verification: what `codequarry release verify` found: `command`, `date`, `hardware`, `exceptions`
        (sentences), and `rows` of `runtime`, `version`, `precision`, `worst_cosine`,
        `worst_absolute_difference`, `ok`.
    datasets: Hub names of the training data, where it came from the Hub.
    contents: sha256 over every file of the release but card and manifest; None where there is none.
    """

    name: str
    load_as: str
    version: str
    dims: tuple[int, ...]
    max_length: int | None
    pooling: str
    prompts: Mapping[str, str]
    dtype: str
    in_memory: str
    parameters: int | None = None
    base_model: str | None = None
    base_revision: str | None = None
    base_licence: str | None = None
    base_trained_on: tuple[str, ...] = ()
    random_start: bool = False
    training_data: tuple[Mapping[str, Any], ...] = ()
    decontamination: Mapping[str, Any] | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None
    earlier_stages: tuple[Mapping[str, Any], ...] = ()
    hardware: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] | None = None
    verification: Mapping[str, Any] | None = None
    datasets: tuple[str, ...] = ()
    contents: str | None = None


def on_the_hub(name: str | None) -> bool:
    """Whether a model's name is one of the Hub, `owner/model`, rather than a folder or `mini`."""
    return name is not None and name.count("/") == 1 and not name.startswith((".", "/", "~"))


JINA, GEMMA, CODET5 = "jina-code-embeddings", "EmbeddingGemma", "CodeT5+"


Test = Callable[[Card], bool | None]


def _recorded(*fields: str, holds: Callable[[Any], bool] = bool) -> Test:
    """Whether every one of these hyperparameters is set and passes `holds`; None where none is recorded."""

    def is_here(card: Card) -> bool | None:
        given = card.hyperparameters
        return all(field in given and holds(given[field]) for field in fields) if given else None

    return is_here


_MASKS = ("objective.false_negatives.same_query", "objective.false_negatives.same_document")

# By paper, its ideas, and whether a model has each; None where its card does not record it.
IDEAS: dict[str, dict[str, Test]] = {
    JINA: {
        "the five tasks and their prompts, word for word": lambda card: dict(card.prompts) == CODE.prompts(),
        "vectors that can be cut short, by Matryoshka training": lambda card: len(card.dims) > 1,
        "contrastive training of queries against the documents of their batch": _recorded(
            "objective.directions"
        ),
        "a decoder, read at its last token": lambda card: card.pooling == "lasttoken",
    },
    GEMMA: {
        "no pair with the same query or document text counts as a negative": _recorded(*_MASKS),
        "nearness to the vectors of a teacher": _recorded("objective.matching.teacher"),
        "hard negatives that weigh more": _recorded("objective.hardness", holds=lambda kind: kind != "none"),
        "a loss that spreads vectors out": _recorded("objective.spread_out", holds=lambda share: share > 0),
        "an encoder taken from an encoder-decoder model": lambda card: False,
        "an average of models trained on different mixtures": lambda card: False,
    },
    CODET5: {
        "pretraining by span denoising and by generating code": lambda card: False,
        "negatives from a momentum encoder": lambda card: False,
        "a second model that matches a text with a piece of code": lambda card: False,
    },
}


def taken_and_left(card: Card, paper: str) -> str:
    """One sentence per group: what this model takes from a paper, what it does not, what is not recorded."""
    groups: dict[str, list[str]] = {"Taken": [], "Not taken": [], "Not recorded": []}
    for idea, is_here in IDEAS[paper].items():
        here = is_here(card)
        groups["Not recorded" if here is None else "Taken" if here else "Not taken"].append(idea)
    return " ".join(f"{name}: {'; '.join(whats)}." for name, whats in groups.items() if whats)
