"""What a recipe says: every field with its unit and special values, frozen once read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from codequarry.common.errors import UserError, did_you_mean
from codequarry.modules.backbone import DecoderShape
from codequarry.modules.losses import Direction, Hardness, Partition
from codequarry.modules.precision import Precision, WeightsDtype, check_weights
from codequarry.modules.tasks import DEFAULT_FAMILY, TASKS, get_family


def _require(condition: bool, message: str) -> None:
    """Raise UserError with the message unless the condition holds."""
    if not condition:
        raise UserError(message)


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
    per_pair: int = 1  # documents; each lengthens every step by one document per pair
    margin: float = 0.05  # share of the positive's score by which a negative must lie below it
    range_min: int = 0  # nearest documents that are skipped: they may be right
    range_max: int = 50  # nearest documents that are considered
    across_sources: bool = False  # search all sources of the task, not only the pair's own

    def __post_init__(self) -> None:
        _require(
            self.per_pair >= 1 and 0 <= self.range_min < self.range_max,
            f"hard_negatives: per_pair = {self.per_pair}, range_min = {self.range_min}, range_max = "
            f"{self.range_max}: at least one a pair, and a range that begins at 0 or above.",
        )
        margin = f"hard_negatives: margin = {self.margin}: a share from 0 to below 1, such as 0.05."
        _require(0 <= self.margin < 1, margin)


@dataclass(frozen=True)
class FalseNegatives:
    """Which texts of other pairs are not counted as wrong, over all ranks."""

    same_query: bool = True  # the documents of pairs with the same query text are right too
    same_document: bool = True  # whatever has the text of the right document is right too
    margin: float | None = None  # cosine above the positive's less this is no negative; None: off; may be < 0

    def __post_init__(self) -> None:
        _require(
            self.margin is None or -1 < self.margin < 1,
            f"objective.false_negatives: margin = {self.margin}: a difference of cosines between -1 and "
            "1. 0 leaves out what is nearer than the positive, -0.1 what is nearer by 0.1.",
        )


@dataclass(frozen=True)
class Matching:
    """Stay near the vectors of a teacher: 1 - cosine to the teacher's vector of the same text."""

    teacher: str  # a folder, a packaged model or a Hub name; its vectors are as long as the model's
    weight: float = 1.0  # of this term, at the start
    final_weight: float | None = None  # at the last step, straight between the two; None: as at the start

    def __post_init__(self) -> None:
        for name, weight in (("weight", self.weight), ("final_weight", self.final_weight)):
            finite = weight is None or 0 <= weight < float("inf")
            _require(finite, f"objective.matching: {name} = {weight}: a finite number from 0 up.")
        out = "objective.matching: weight is 0 from start to end: leave the [objective.matching] table out."
        _require(bool(self.weight or self.final_weight), out)


@dataclass(frozen=True)
class LossTerms:
    """InfoNCE, and what is added to it. Temperature and Matryoshka dimensions are fields of the recipe."""

    directions: tuple[Direction, ...] = ("query_to_doc",)  # what is compared; see modules/losses/__init__.py
    partition: Partition = "joint"  # one softmax over all directions, or one for each
    hardness: Hardness = "none"  # which negatives weigh more the nearer they are
    hardness_strength: float = 0.0  # times cosine, added to a negative's logit; EmbeddingGemma: 5
    spread_out: float = 0.0  # weight of the second moment of cosines within a column (GOR); 0: off
    false_negatives: FalseNegatives = field(default_factory=FalseNegatives)
    matching: Matching | None = None  # None: no teacher

    def __post_init__(self) -> None:
        directions, strength = self.directions, self.hardness_strength
        twice = f"objective: directions = {directions} names one twice."
        _require(len(set(directions)) == len(directions), twice)
        _require(
            "query_to_doc" in directions,
            f"objective: directions = {directions} lacks 'query_to_doc', the only one that every "
            "pair's positive is read from.",
        )
        same_side = sorted({"query_to_query", "doc_to_doc"} & set(directions))
        _require(
            self.partition == "joint" or not same_side,
            f"objective: {''.join(same_side[:1])!r} with partition = 'per_direction' would be a softmax "
            "without a right answer in it: pass partition = 'joint', or leave that direction out.",
        )
        for name, value in (("hardness_strength", strength), ("spread_out", self.spread_out)):
            finite = f"objective: {name} = {value}: a finite number from 0 up."
            _require(0 <= value < float("inf"), finite)
        _require(
            (self.hardness == "none") == (strength == 0),
            f"objective: hardness = {self.hardness!r} with hardness_strength = {strength} "
            "weighs nothing: set both, or neither.",
        )


MEAN = "mean"  # over the tasks, each counting the same


def score_name(of: str, dims: int | None = None) -> str:
    """The name of nDCG@10 of a task, or of `MEAN`, on vectors truncated to `dims`; None for whole ones.

    >>> score_name("nl2code"), score_name(MEAN, 128)
    ('nl2code_ndcg@10', 'mean_128_ndcg@10')
    """
    return f"{of}_ndcg@10" if dims is None else f"{of}_{dims}_ndcg@10"


@dataclass(frozen=True)
class Validation:
    """Scores on pairs held out of the training sources, and which checkpoint becomes the model."""

    every_steps: int = 100  # optimiser steps between two validations; with keep = best divides save_steps
    keep: Literal["best", "last"] = "best"  # the checkpoint that scores best, or the last step's
    on_start: bool = True  # score the untrained model too
    pairs_per_source: int = 200  # held out of one source and task, at most; mined repositories are one source
    max_pairs: int = 1000  # held out in all, shared evenly by the tasks; a validation takes that much longer
    share: float = 0.02  # of the pairs of a source and task, at most
    dims: tuple[int, ...] = ()  # truncated dimensions, scored as well as whole vectors
    metric: str = score_name(MEAN)  # of the best checkpoint; or of one task, of one of dims: mean_128_ndcg@10
    patience: int | None = None  # validations in a row without a new best that end the run; None: none do

    def __post_init__(self) -> None:
        for name in ("every_steps", "pairs_per_source", "max_pairs", "patience"):
            value = getattr(self, name)
            _require(value is None or value >= 1, f"validation: {name} = {value}: at least 1.")
        _require(
            self.keep == "best" or self.patience is None,
            f"validation: patience = {self.patience} with keep = 'last': a run that ends early keeps its "
            "best checkpoint. Leave one of the two out.",
        )
        share = f"validation: share = {self.share}: a share of the pairs, above 0 and below 1, such as 0.02."
        _require(0 < self.share < 1, share)
        names = score_names(self.dims)
        if self.metric not in names:
            hint = did_you_mean(self.metric, names) or f" The scores are {', '.join(names)}."
            raise UserError(
                f"validation: metric = {self.metric!r} is not a score with dims = {list(self.dims)}.{hint}"
            )

    def check(self, *, save_steps: int, matryoshka_dims: tuple[int, ...]) -> None:
        """Raise UserError where the rest of the recipe does not go with this.

        Arguments: `save_steps`, optimiser steps between checkpoints; `matryoshka_dims`, those that train.
        """
        above = -(-save_steps // self.every_steps) * self.every_steps
        _require(
            self.keep == "last" or above == save_steps,
            f"validation: every_steps = {self.every_steps} does not divide save_steps = {save_steps}, "
            f"and the best checkpoint must be one that was scored: pass --set save_steps={above}.",
        )
        for dim in self.dims:
            _require(
                dim in matryoshka_dims,
                f"validation: dims has {dim}, which is not among the trained matryoshka_dims "
                f"{matryoshka_dims}: pass some of these.",
            )


ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Adapter:
    """LoRA (arXiv 2106.09685): W + alpha / rank · B · A, with W frozen and only A and B trained.

    A recipe without the table trains every weight. With it the backbone's weights stay as they are; a
    pooling with weights of its own still trains.
    """

    rank: int = 16  # rows of A; memory and what can be learned grow with it
    alpha: float = 32.0  # alpha / rank multiplies what the adapter adds
    dropout: float = 0.0  # share of the adapter's inputs dropped while training
    # Names of linear layers, such as ["q_proj", "v_proj"]; "all-linear" alone for every one of the backbone.
    targets: tuple[str, ...] = (ALL_LINEAR,)
    # An adapter to train further, of this rank, these targets and this backbone: a name such as "0.5b", or a
    # folder with base.json. "" begins with a random A and a B of zeros.
    start: str = ""

    def __post_init__(self) -> None:
        _require(self.rank >= 1, f"lora: rank = {self.rank}: at least 1, usually 8 to 64.")
        _require(self.alpha > 0, f"lora: alpha = {self.alpha}: a number above 0, often twice the rank.")
        dropout = f"lora: dropout = {self.dropout}: a share from 0 to below 1, such as 0.05."
        _require(0 <= self.dropout < 1, dropout)
        empty = f'lora: targets is empty: name linear layers, e.g. ["q_proj", "v_proj"], or ["{ALL_LINEAR}"].'
        _require(bool(self.targets), empty)
        others = ", ".join(name for name in self.targets if name != ALL_LINEAR)
        both = f'lora: "{ALL_LINEAR}" already holds {others}: write one of the two.'
        _require(ALL_LINEAR not in self.targets or len(self.targets) == 1, both)


_LEAST = {
    "max_length": 32, "batch_size": 2, "max_steps": 1, "mini_batch_tokens": 1, "save_steps": 1,
    "logging_steps": 1, "max_pairs_per_source": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """One model: what it is built on, what it is trained on, and how."""

    name: str
    backbone: Backbone
    data: str  # a folder or file of pairs: .jsonl, .jsonl.gz, .parquet
    pooling: Literal["lasttoken", "mean", "cls", "latentattention"]
    max_length: int  # tokens per text, prefix and special tokens included
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
    memory_gb: float | None = None  # 1e9 bytes by which a step may grow the process; None: a quarter of free
    dropout: float = 0.0  # share of values dropped while training; 0 is also twice as fast on a CPU
    warmup_ratio: float = 0.1  # share of max_steps over which the rate rises from 0
    # After the warm-up; warmup_stable_decay: constant, then 1 - sqrt(share of decay_steps that is done).
    scheduler: Literal["linear", "cosine", "constant_with_warmup", "warmup_stable_decay"] = "linear"
    decay_steps: int | None = None  # the last ones, of a shorter run all; for warmup_stable_decay alone
    weight_decay: float = 0.01  # AdamW's
    max_grad_norm: float = 1.0  # gradients longer than this are scaled down to it
    precision: Precision = "auto"  # of the arithmetic; auto: bf16 where it is faster, else fp32
    weights: WeightsDtype = "float32"  # in memory; bfloat16 learns less; auto: see stored_weights
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
        inside = f"in recipe {self.name}"
        for name, least in _LEAST.items():
            value = getattr(self, name)
            enough = value is None or value >= least
            _require(enough, f"{name} = {value} {inside}: at least {least}.")
        _require(
            0 <= self.mixture_exponent <= 1,
            f"mixture_exponent = {self.mixture_exponent} {inside}: from 0 (every source "
            "alike) to 1 (in proportion to its pairs).",
        )
        for source, weight in self.source_weights.items():
            _require(
                weight >= 0,
                f"source_weights of {source!r} {inside} is {weight}: pass a factor from 0 (never drawn) up.",
            )
        decays = self.scheduler == "warmup_stable_decay"
        _require(
            decays == (self.decay_steps is not None) and (self.decay_steps or 1) >= 1,
            f"decay_steps = {self.decay_steps} with scheduler = {self.scheduler!r} {inside}: "
            "warmup_stable_decay needs a number from 1 up, and no other takes one.",
        )
        memory = f"memory_gb = {self.memory_gb} {inside}: a number above 0, or none."
        _require(self.memory_gb is None or self.memory_gb > 0, memory)
        _require(
            0 < self.temperature <= 1,
            f"temperature = {self.temperature} {inside}: it divides a cosine, so a number "
            "above 0 and at most 1, usually 0.01 to 0.1.",
        )
        base = f"average_with_base = {self.average_with_base} {inside}:"
        share = f"{base} the base's share, from 0 (the trained weights) to below 1."
        _require(0 <= self.average_with_base < 1, share)
        random = self.backbone.weights == "random"
        nothing = f"{base} random weights are nothing to go back to; leave it out."
        _require(not (self.average_with_base and random), nothing)
        try:
            get_family(self.prompts)
        except UserError as error:
            raise UserError(f"prompts = {self.prompts!r} {inside}: {error}") from error
        check_weights(self.weights, self.precision)
        sizes, dims = list(self.projections), list(self.matryoshka_dims)
        _require(bool(dims), f"matryoshka_dims is empty {inside}: name at least the size of a vector.")
        least_size = min(sizes, default=1)
        _require(least_size >= 1, f"projections = {sizes} {inside}: dimensions of at least 1.")
        _require(
            not sizes or sizes[-1] == dims[0],
            f"projections = {sizes} and matryoshka_dims = {dims} {inside}: a vector is as "
            f"large as the last projection, so let the dims begin with {sizes[-1] if sizes else ''}.",
        )
        if self.validation is not None:
            self.validation.check(save_steps=self.save_steps, matryoshka_dims=self.matryoshka_dims)
        shaped = not random or self.backbone.shape is not None
        _require(shaped, f"random weights {inside} need a [backbone.shape] table.")

    @property
    def warmup_steps(self) -> int:
        """Optimiser steps over which the rate rises."""
        return round(self.warmup_ratio * self.max_steps)

    @property
    def scheduler_arguments(self) -> dict[str, Any] | None:
        """What transformers' scheduler takes with its name."""
        if self.decay_steps is None:
            return None
        decays = min(self.decay_steps, self.max_steps - self.warmup_steps)
        return {"num_decay_steps": decays, "decay_type": "1-sqrt"}


def score_names(dims: Sequence[int] = ()) -> list[str]:
    """Every score that a validation can give, on whole vectors and on these `dims`."""
    return [score_name(of, size) for size in (None, *dims) for of in (MEAN, *TASKS)]
