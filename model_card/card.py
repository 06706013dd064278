"""What a model card says, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Card:
    """The fields of one model's card. None, () and {} mean "not measured", and the card says so.

    name: the model's short name.
    load_as: what a user passes to `SentenceTransformer`: a Hub name or a folder.
    version: of codequarry, which built the release.
    dims: trained embedding sizes, largest first. max_length: tokens, prompt and special tokens included.
    pooling: such as `mean`. prompts: those of its family, by name. parameters: how many there are.
    dtype, in_memory: `fp32` or `bf16`, of the weights on disk, and once loaded where the reader asks for
        nothing else.
    base_model: of the weights that training began with, `mini` or a Hub name. base_revision: its commit
        there. base_licence: SPDX; None where it is not known here. base_trained_on: what it had been trained
        on and something is scored on here; () where nothing is known.
    random_start: training began with random weights, so there is no base model.
    training_data: rows of `source`, `task`, `pairs`, `licence` (SPDX; None for your own code), `pairs_drawn`.
    decontamination: the report of `codequarry data clean`: `in`, `out`, `why`, `languages`, `limits`, and
        `eval_sets` of `texts` and `removed`.
    hyperparameters: recipe field to value, fields of tables with dots. scores: name to value, on pairs held
        out of the training data. steps, seconds: optimiser steps and wall time of the training.
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
    """

    name: str
    load_as: str
    version: str
    dims: tuple[int, ...]
    max_length: int
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
    hardware: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] | None = None
    verification: Mapping[str, Any] | None = None
    datasets: tuple[str, ...] = ()


def on_the_hub(name: str | None) -> bool:
    """Whether a model's name is one of the Hub, `owner/model`, rather than a folder or `mini`."""
    return name is not None and name.count("/") == 1 and not name.startswith((".", "/", "~"))
