"""What the training objective is made of: the `[objective]` table of a recipe."""

from dataclasses import dataclass, field

from codequarry.modules.losses.directions import Direction, Hardness, Partition


@dataclass(frozen=True)
class FalseNegatives:
    """Which texts of other pairs are not counted as wrong, over all ranks."""

    same_query: bool = True  # the documents of pairs with the same query text are right too
    same_document: bool = True  # whatever has the text of the right document is right too
    margin: float | None = None  # cosine above the positive's less this is no negative; None: off; may be < 0

    def __post_init__(self) -> None:
        if self.margin is not None and not -1 < self.margin < 1:
            raise ValueError(
                f"objective.false_negatives: margin = {self.margin}: a difference of cosines between -1 and "
                "1. 0 leaves out what is nearer than the positive, -0.1 what is nearer by 0.1."
            )


@dataclass(frozen=True)
class Matching:
    """Stay near the vectors of a teacher: 1 - cosine to the teacher's vector of the same text."""

    teacher: str  # a folder, a packaged model or a Hub name; its vectors are as long as the model's
    weight: float = 1.0  # of this term, at the start
    final_weight: float | None = None  # at the last step, straight between the two; None: as at the start

    def __post_init__(self) -> None:
        for name, weight in (("weight", self.weight), ("final_weight", self.final_weight)):
            if weight is not None and not 0 <= weight < float("inf"):
                raise ValueError(f"objective.matching: {name} = {weight}: a finite number from 0 up.")
        if not self.weight and not self.final_weight:
            raise ValueError(
                "objective.matching: weight is 0 from start to end: leave the [objective.matching] table out."
            )


@dataclass(frozen=True)
class LossTerms:
    """InfoNCE, and what is added to it. Temperature and Matryoshka dimensions are fields of the recipe."""

    directions: tuple[Direction, ...] = (
        "query_to_doc",
    )  # what is compared; see modules/losses/directions.py
    partition: Partition = "joint"  # one softmax over all directions, or one for each
    hardness: Hardness = "none"  # which negatives weigh more the nearer they are
    hardness_strength: float = 0.0  # times cosine, added to a negative's logit; EmbeddingGemma: 5
    spread_out: float = 0.0  # weight of the second moment of cosines within a column (GOR); 0: off
    false_negatives: FalseNegatives = field(default_factory=FalseNegatives)
    matching: Matching | None = None  # None: no teacher

    def __post_init__(self) -> None:
        if len(set(self.directions)) < len(self.directions):
            raise ValueError(f"objective: directions = {self.directions} names one twice.")
        if "query_to_doc" not in self.directions:
            raise ValueError(
                f"objective: directions = {self.directions} lacks 'query_to_doc', the only one that every "
                "pair's positive is read from."
            )
        same_side = {"query_to_query", "doc_to_doc"} & set(self.directions)
        if self.partition == "per_direction" and same_side:
            raise ValueError(
                f"objective: {sorted(same_side)[0]!r} with partition = 'per_direction' would be a softmax "
                "without a right answer in it: pass partition = 'joint', or leave that direction out."
            )
        if not 0 <= self.hardness_strength < float("inf"):
            raise ValueError(
                f"objective: hardness_strength = {self.hardness_strength}: a finite number from 0 up."
            )
        if (self.hardness == "none") != (self.hardness_strength == 0):
            raise ValueError(
                f"objective: hardness = {self.hardness!r} with hardness_strength = {self.hardness_strength} "
                "weighs nothing: set both, or neither."
            )
        if not 0 <= self.spread_out < float("inf"):
            raise ValueError(f"objective: spread_out = {self.spread_out}: a finite number from 0 up.")
