"""What a recipe says: every field with its unit, range and special values, frozen once read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from codequarry.common.errors import UserError, did_you_mean
from codequarry.common.ranges import Count, Range, check_numbers
from codequarry.modules.backbone import DecoderShape, StaticShape
from codequarry.modules.losses import Direction, Hardness, Partition
from codequarry.modules.precision import Precision, WeightsDtype, check_weights
from codequarry.modules.tasks import DEFAULT_FAMILY, TASKS, get_family, get_task

Share = Annotated[float, Range(least=0, below=1, says="a share from 0 to below 1, such as 0.05")]
Factor = Annotated[float, Range(least=0)]
Dimension = Annotated[int, Range(least=1, says="dimensions of at least 1")]


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
    shape: DecoderShape | None = None  # of random weights; pretrained ones bring theirs
    static: StaticShape | None = None  # of random weights, instead of `shape`: a static model
    tokenizer: str | None = None  # folder, for a random decoder; None trains one on the recipe's pairs
    layers: Count | None = None  # of pretrained weights, the first that are kept; None: all


@dataclass(frozen=True)
class HardNegatives:
    """Documents that look right and are wrong, mined once before training and kept in the run's folder."""

    model: str  # a folder, a packaged model or a Hub name: what finds them
    per_pair: Count = 1  # documents; each lengthens every step by one document per pair
    margin: Share = 0.05  # share of the positive's score by which a negative must lie below it
    range_min: Annotated[int, Range(least=0)] = 0  # nearest documents that are skipped: they may be right
    range_max: Count = 50  # nearest documents that are considered
    across_sources: bool = False  # search all sources of the task, not only the pair's own

    def __post_init__(self) -> None:
        check_numbers(self, "hard_negatives")
        _require(
            self.range_min < self.range_max,
            f"hard_negatives: range_min = {self.range_min}, range_max = {self.range_max}: the range ends "
            "above where it begins.",
        )


@dataclass(frozen=True)
class FalseNegatives:
    """Which texts of other pairs are not counted as wrong, over all ranks."""

    same_query: bool = True  # the documents of pairs with the same query text are right too
    same_document: bool = True  # whatever has the text of the right document is right too
    # What has a cosine above the positive's less this is no negative; None: off.
    margin: Annotated[
        float | None,
        Range(
            above=-1,
            below=1,
            says="a difference of cosines between -1 and 1. 0 leaves out what is nearer than the positive, "
            "-0.1 what is nearer by 0.1",
        ),
    ] = None

    def __post_init__(self) -> None:
        check_numbers(self, "objective.false_negatives")


@dataclass(frozen=True)
class Matching:
    """Stay near the vectors of a teacher: 1 - cosine to the teacher's vector of the same text."""

    teacher: str  # a folder, a packaged model or a Hub name; its vectors are as long as the model's
    weight: Factor = 1.0  # of this term, at the start
    final_weight: Factor | None = None  # at the last step, straight between the two; None: as at the start

    def __post_init__(self) -> None:
        check_numbers(self, "objective.matching")
        out = "objective.matching: weight is 0 from start to end: leave the [objective.matching] table out."
        _require(bool(self.weight or self.final_weight), out)


@dataclass(frozen=True)
class LossTerms:
    """InfoNCE, and what is added to it. Temperature and Matryoshka dimensions are fields of the recipe."""

    directions: tuple[Direction, ...] = ("query_to_doc",)  # what is compared; see modules/losses/__init__.py
    partition: Partition = "joint"  # one softmax over all directions, or one for each
    hardness: Hardness = "none"  # which negatives weigh more the nearer they are
    hardness_strength: Factor = 0.0  # times cosine, added to a negative's logit; EmbeddingGemma: 5
    spread_out: Factor = 0.0  # weight of the second moment of cosines within a column (GOR); 0: off
    false_negatives: FalseNegatives = field(default_factory=FalseNegatives)
    matching: Matching | None = None  # None: no teacher

    def __post_init__(self) -> None:
        check_numbers(self, "objective")
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

    every_steps: Count = 100  # optimiser steps between two validations; with keep = best divides save_steps
    keep: Literal["best", "last"] = "best"  # the checkpoint that scores best, or the last step's
    on_start: bool = True  # score the untrained model too
    pairs_per_source: Count = (
        200  # held out of one source and task, at most; mined repositories are one source
    )
    max_pairs: Count = (
        1000  # held out in all, shared evenly by the tasks; a validation takes that much longer
    )
    # Of the pairs of a source and task, at most.
    share: Annotated[
        float,
        Range(above=0, below=1, says="a share of the pairs, above 0 and below 1, such as 0.02"),
    ] = 0.02
    dims: tuple[Dimension, ...] = ()  # truncated dimensions, scored as well as whole vectors
    metric: str = score_name(MEAN)  # of the best checkpoint; or of one task, of one of dims: mean_128_ndcg@10
    patience: Count | None = None  # validations in a row without a new best that end the run; None: none do

    def __post_init__(self) -> None:
        check_numbers(self, "validation")
        _require(
            self.keep == "best" or self.patience is None,
            f"validation: patience = {self.patience} with keep = 'last': a run that ends early keeps its "
            "best checkpoint. Leave one of the two out.",
        )
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

    # Rows of A; memory and what can be learned grow with it.
    rank: Annotated[int, Range(least=1, says="at least 1, usually 8 to 64")] = 16
    # alpha / rank multiplies what the adapter adds.
    alpha: Annotated[float, Range(above=0, says="a finite number above 0, often twice the rank")] = 32.0
    dropout: Share = 0.0  # share of the adapter's inputs dropped while training
    # Names of linear layers, such as ["q_proj", "v_proj"]; "all-linear" alone for every one of the backbone.
    targets: tuple[str, ...] = (ALL_LINEAR,)
    # An adapter to train further, of this rank, these targets and this backbone: a name such as "0.5b", or a
    # folder with base.json. "" begins with a random A and a B of zeros.
    start: str = ""

    def __post_init__(self) -> None:
        check_numbers(self, "lora")
        empty = f'lora: targets is empty: name linear layers, e.g. ["q_proj", "v_proj"], or ["{ALL_LINEAR}"].'
        _require(bool(self.targets), empty)
        others = ", ".join(name for name in self.targets if name != ALL_LINEAR)
        both = f'lora: "{ALL_LINEAR}" already holds {others}: write one of the two.'
        _require(ALL_LINEAR not in self.targets or len(self.targets) == 1, both)


@dataclass(frozen=True)
class Recipe:
    """One model: what it is built on, what it is trained on, and how."""

    name: str
    backbone: Backbone
    data: str  # a folder or file of pairs: .jsonl, .jsonl.gz, .parquet
    pooling: Literal["lasttoken", "mean", "cls", "latentattention"]
    matryoshka_dims: tuple[Dimension, ...]  # dimensions, largest first; the first is that of a whole vector
    batch_size: Annotated[int, Range(least=2, says="at least 2")]  # pairs per optimiser step, over all ranks
    max_steps: Count  # optimiser steps
    learning_rate: Annotated[float, Range(above=0, most=1)]  # peak, after warm-up
    # Tokens per text, prefix and special tokens included; None: the base's own limit, which a static model
    # has not.
    max_length: Annotated[int | None, Range(least=32, says="at least 32")] = None
    prompts: str = DEFAULT_FAMILY  # the prompt family: a name in modules/tasks.py's FAMILIES
    # Output dimensions of linear layers after the pooling, in order; () for none, or those of the backbone.
    projections: tuple[Dimension, ...] = ()
    # Divides the cosine similarity.
    temperature: Annotated[
        float,
        Range(above=0, most=1, says="it divides a cosine, so a number above 0 and to 1, usually 0.01 to 0.1"),
    ] = 0.05
    objective: LossTerms = field(default_factory=LossTerms)  # what is added to plain InfoNCE
    mini_batch_tokens: Count = 4096  # per forward pass, each text counted as long as its longest
    grad_cache: Literal["auto", "on", "off"] = "auto"  # embed twice, save memory; auto: beyond memory_gb
    memory_gb: Annotated[float | None, Range(above=0)] = (
        None  # 1e9 bytes by which a step may grow the process; None: a quarter of free
    )
    # Share of values dropped while training, of tokens for a static model; 0 is also twice as fast on a CPU.
    dropout: Share = 0.0
    warmup_ratio: Annotated[float, Range(least=0, most=1)] = (
        0.1  # share of max_steps over which the rate rises from 0
    )
    # After the warm-up; warmup_stable_decay: constant, then 1 - sqrt(share of decay_steps that is done).
    scheduler: Literal["linear", "cosine", "constant_with_warmup", "warmup_stable_decay"] = "linear"
    decay_steps: Count | None = None  # the last ones, of a shorter run all; for warmup_stable_decay alone
    weight_decay: Factor = 0.01  # AdamW's
    max_grad_norm: Annotated[float, Range(above=0)] = 1.0  # gradients longer than this are scaled down to it
    precision: Precision = "auto"  # of the arithmetic; auto: bf16 where it is faster, else fp32
    weights: WeightsDtype = "float32"  # in memory; bfloat16 learns less; auto: see stored_weights
    lora: Adapter | None = None  # train an adapter and merge it in the end; None: train every weight
    average_with_base: Share = 0.0  # share of the base's weights in the final ones; 0: the trained ones
    validation: Validation | None = None  # hold pairs out and choose the checkpoint by them; None: the last
    save_steps: Count = 100  # optimiser steps between checkpoints
    logging_steps: Count = 10  # optimiser steps between log lines
    seed: Annotated[int, Range(least=0, most=2**32 - 1)] = 42  # of weights, data order, caps and dropout
    subfolders: bool = False  # pairs of the folders in `data` too, those called heldout left out
    # Columns of the files by field of a pair, such as {query = "anchor"}; known layouts need none.
    columns: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None  # of pairs whose file names none; None: such a file is refused
    licences: Literal["commercial", "permissive"] = "commercial"  # permissive: no share-alike text either
    max_pairs_per_source: Count | None = None  # pairs of one source and task; None: all
    # Batches of a source ~ its pairs to this power.
    mixture_exponent: Annotated[
        float,
        Range(least=0, most=1, says="from 0 (every source alike) to 1 (in proportion to its pairs)"),
    ] = 0.5
    # All mined repositories of a task are one source, "*/*": batches of a thousand pairs need it, which few
    # repositories can fill alone.
    repositories_together: bool = False
    # Factors on that, by source, by "source:task", or with "*" for any letters, such as "*/*" or "*:qa".
    source_weights: Mapping[
        str, Annotated[float, Range(least=0, says="a factor from 0 (never drawn) up")]
    ] = field(default_factory=dict)
    hard_negatives: HardNegatives | None = None  # None: the pairs' own, if they have some

    def __post_init__(self) -> None:
        inside = f"in recipe {self.name}"
        check_numbers(self, inside=f" {inside}")
        decays = self.scheduler == "warmup_stable_decay"
        _require(
            decays == (self.decay_steps is not None),
            f"decay_steps = {self.decay_steps} with scheduler = {self.scheduler!r} {inside}: "
            "warmup_stable_decay needs a number from 1 up, and no other takes one.",
        )
        base = f"average_with_base = {self.average_with_base} {inside}:"
        random = self.backbone.weights == "random"
        nothing = f"{base} random weights are nothing to go back to; leave it out."
        _require(not (self.average_with_base and random), nothing)
        try:
            get_family(self.prompts)
        except UserError as error:
            raise UserError(f"prompts = {self.prompts!r} {inside}: {error}") from error
        if self.task is not None:
            get_task(self.task)  # raises the sentence that names the five
        check_weights(self.weights, self.precision)
        sizes, dims = list(self.projections), list(self.matryoshka_dims)
        _require(bool(dims), f"matryoshka_dims is empty {inside}: name at least the size of a vector.")
        _require(
            not sizes or sizes[-1] == dims[0],
            f"projections = {sizes} and matryoshka_dims = {dims} {inside}: a vector is as "
            f"large as the last projection, so let the dims begin with {sizes[-1] if sizes else ''}.",
        )
        if self.validation is not None:
            self.validation.check(save_steps=self.save_steps, matryoshka_dims=self.matryoshka_dims)
        shapes = [one for one in (self.backbone.shape, self.backbone.static) if one is not None]
        _require(
            not random or len(shapes) == 1,
            f"random weights {inside} need a [backbone.shape] table, or a [backbone.static] one for a static "
            "model, and not both.",
        )
        decoder = self.backbone.shape is None or self.max_length is not None
        _require(decoder, f"random weights {inside} need max_length, the tokens per text.")
        if self.backbone.static is not None:
            limited = (
                f"max_length = {self.max_length} {inside}: a static model reads whole texts; leave it out."
            )
            _require(self.max_length is None, limited)
            other = f"pooling = {self.pooling!r} {inside}: a static model's vector is a mean; say 'mean'."
            _require(self.pooling == "mean" and not sizes and self.lora is None, other)

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
