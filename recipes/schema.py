"""What a recipe says: every field with its unit and special values, frozen once read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from codequarry.modules.decoder_shape import DecoderShape
from codequarry.modules.precision import Precision, WeightsDtype, check_weights
from codequarry.modules.tasks import DEFAULT_FAMILY, get_family
from codequarry.recipes.adapter import Adapter
from codequarry.recipes.objective import LossTerms
from codequarry.recipes.validation import Validation


@dataclass(frozen=True)
class Backbone:
    """What the model is built on."""

    name: str  # a folder, a packaged model or a Hub name; with random weights only a label
    weights: Literal["pretrained", "random"] = "pretrained"
    revision: str | None = None  # Hub commit; None pins today's in backbones.lock.json on the first download
    shape: DecoderShape | None = None  # needed for random weights; pretrained ones bring theirs
    tokenizer: str | None = None  # folder, for random weights; None trains one on the recipe's pairs


@dataclass(frozen=True)
class HardNegatives:
    """Documents that look right and are wrong, mined once before training and kept in the run's folder."""

    model: str  # a folder, a packaged model or a Hub name: what finds them
    per_pair: int = 1  # documents; each lengthens every step by one document a pair
    margin: float = 0.05  # share of the positive's score by which a negative must lie below it
    range_min: int = 0  # nearest documents that are passed over, unseen: they may be right
    range_max: int = 50  # nearest documents that are looked at
    across_sources: bool = False  # search all sources of the task, not only the pair's own

    def __post_init__(self) -> None:
        if self.per_pair < 1 or not 0 <= self.range_min < self.range_max:
            raise ValueError(
                f"hard_negatives: per_pair = {self.per_pair}, range_min = {self.range_min}, range_max = "
                f"{self.range_max}: at least one a pair, and a range that begins at 0 or above."
            )
        if not 0 <= self.margin < 1:
            raise ValueError(
                f"hard_negatives: margin = {self.margin}: a share from 0 to below 1, such as 0.05."
            )


@dataclass(frozen=True)
class Recipe:
    """One model: what it is built on, what it is trained on, and how."""

    name: str
    backbone: Backbone
    data: str  # a folder or file of pairs: .jsonl, .jsonl.gz, .parquet
    pooling: Literal["lasttoken", "mean", "cls", "latentattention"]
    max_length: int  # tokens a text, prefix and special tokens included
    matryoshka_dims: tuple[int, ...]  # dimensions, largest first; the first is that of a whole vector
    batch_size: int  # pairs per optimiser step, over all ranks
    max_steps: int  # optimiser steps
    learning_rate: float  # peak, after warm-up
    prompts: str = DEFAULT_FAMILY  # the prompt family: a name in modules/tasks.py's FAMILIES
    # Output dimensions of linear layers after the pooling, in order; () for none, or those of the backbone.
    projections: tuple[int, ...] = ()
    temperature: float = 0.05  # divides the cosine similarity
    objective: LossTerms = field(default_factory=LossTerms)  # what is added to plain InfoNCE
    mini_batch_tokens: int = 4096  # per forward pass, each text counted as long as its longest
    grad_cache: Literal["auto", "on", "off"] = "auto"  # embed twice, save memory; auto: beyond memory_gb
    memory_gb: float | None = (
        None  # 1e9 bytes by which a step may grow the process; None: a quarter of the free
    )
    dropout: float = 0.0  # share of values dropped while training; 0 is also twice as fast on a CPU
    warmup_ratio: float = 0.1  # share of max_steps over which the rate rises from 0
    # After the warm-up; warmup_stable_decay: constant, then 1 - sqrt(share of decay_steps that is done).
    scheduler: Literal["linear", "cosine", "constant_with_warmup", "warmup_stable_decay"] = "linear"
    decay_steps: int | None = None  # the last ones, of a shorter run all; for warmup_stable_decay alone
    weight_decay: float = 0.01  # AdamW's
    max_grad_norm: float = 1.0  # gradients longer than this are scaled down to it
    precision: Precision = "auto"  # of the arithmetic; auto: bf16 where it is faster, else fp32
    weights: WeightsDtype = (
        "float32"  # in memory; bfloat16 learns less; auto: of frozen ones, see stored_weights
    )
    lora: Adapter | None = None  # train an adapter and merge it in the end; None: train every weight
    average_with_base: float = 0.0  # share of the base's weights in the final ones; 0: the trained ones
    validation: Validation | None = None  # hold pairs out and choose the checkpoint by them; None: the last
    save_steps: int = 100  # optimiser steps between checkpoints
    logging_steps: int = 10  # optimiser steps between log lines
    seed: int = 42  # of weights, data order, caps and dropout
    subfolders: bool = False  # pairs of the folders in `data` too, those called heldout left out
    licences: Literal["commercial", "permissive"] = "commercial"  # permissive: no share-alike text either
    max_pairs_per_source: int | None = None  # pairs of one source and task; None: all
    mixture_exponent: float = 0.5  # batches of a source ~ its pairs to this power; 1 proportional, 0 uniform
    # Factors on that, by source, by "source:task", or with "*" for any letters, such as "*/*" or "*:qa".
    source_weights: Mapping[str, float] = field(default_factory=dict)
    hard_negatives: HardNegatives | None = None  # None: the pairs' own, if they have some

    def __post_init__(self) -> None:
        for name, least in (
            ("max_length", 32),
            ("batch_size", 2),
            ("max_steps", 1),
            ("mini_batch_tokens", 1),
            ("save_steps", 1),
            ("logging_steps", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)} in recipe {self.name}: at least {least}.")
        if self.max_pairs_per_source is not None and self.max_pairs_per_source < 1:
            raise ValueError(
                f"max_pairs_per_source = {self.max_pairs_per_source} in recipe {self.name}: at least 1."
            )
        if not 0 <= self.mixture_exponent <= 1:
            raise ValueError(
                f"mixture_exponent = {self.mixture_exponent} in recipe {self.name}: from 0 (every source "
                "alike) to 1 (in proportion to its pairs)."
            )
        if bad := [name for name, weight in self.source_weights.items() if not weight >= 0]:
            raise ValueError(
                f"source_weights of {bad[0]!r} in recipe {self.name} is {self.source_weights[bad[0]]}: pass "
                "a factor from 0 (never drawn) up."
            )
        decays = self.scheduler == "warmup_stable_decay"
        if decays != (self.decay_steps is not None) or (self.decay_steps or 1) < 1:
            raise ValueError(
                f"decay_steps = {self.decay_steps} with scheduler = {self.scheduler!r} in recipe "
                f"{self.name}: warmup_stable_decay needs a number from 1 up, and no other takes one."
            )
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise ValueError(
                f"memory_gb = {self.memory_gb} in recipe {self.name}: a number above 0, or none."
            )
        if not 0 < self.temperature <= 1:
            raise ValueError(
                f"temperature = {self.temperature} in recipe {self.name}: it divides a cosine, so a number "
                "above 0 and at most 1, usually 0.01 to 0.1."
            )
        if not 0 <= self.average_with_base < 1:
            raise ValueError(
                f"average_with_base = {self.average_with_base} in recipe {self.name}: the base's share, from "
                "0 (the trained weights) to below 1."
            )
        if self.average_with_base and self.backbone.weights == "random":
            raise ValueError(
                f"average_with_base = {self.average_with_base} in recipe {self.name}: random weights are "
                "nothing to go back to; leave it out."
            )
        try:
            get_family(self.prompts)
        except ValueError as error:
            raise ValueError(f"prompts = {self.prompts!r} in recipe {self.name}: {error}") from error
        check_weights(self.weights, self.precision)
        if not self.matryoshka_dims:
            raise ValueError(
                f"matryoshka_dims is empty in recipe {self.name}: name at least the size of a vector."
            )
        sizes, dims = list(self.projections), list(self.matryoshka_dims)
        if min(sizes, default=1) < 1:
            raise ValueError(f"projections = {sizes} in recipe {self.name}: dimensions of at least 1.")
        if sizes and sizes[-1] != dims[0]:
            raise ValueError(
                f"projections = {sizes} and matryoshka_dims = {dims} in recipe {self.name}: a vector is as "
                f"large as the last projection, so let the dims begin with {sizes[-1]}."
            )
        if self.validation is not None:
            self.validation.check(save_steps=self.save_steps, matryoshka_dims=self.matryoshka_dims)
        if self.backbone.weights == "random" and self.backbone.shape is None:
            raise ValueError(f"random weights in recipe {self.name} need a [backbone.shape] table.")

    @property
    def warmup_steps(self) -> int:
        """Optimiser steps over which the rate rises."""
        return round(self.warmup_ratio * self.max_steps)

    @property
    def scheduler_arguments(self) -> dict[str, Any] | None:
        """What transformers' scheduler takes beside its name."""
        if self.decay_steps is None:
            return None
        decays = min(self.decay_steps, self.max_steps - self.warmup_steps)
        return {"num_decay_steps": decays, "decay_type": "1-sqrt"}
