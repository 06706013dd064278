"""The `[validation]` table of a recipe: what is held out, how often it is scored, what that decides."""

import difflib
from dataclasses import dataclass
from typing import Literal

from codequarry.modules.score_names import MEAN, score_name, score_names


@dataclass(frozen=True)
class Validation:
    """Scores on pairs held out of the training sources, and which checkpoint becomes the model."""

    every_steps: int = 100  # optimiser steps between two validations; with keep = best divides save_steps
    keep: Literal["best", "last"] = "best"  # the checkpoint that scores best, or the last step's
    on_start: bool = True  # score the untrained model too
    pairs_per_source: int = 200  # held out of one source and task, at most; mined repositories are one source
    max_pairs: int = 1000  # held out in all, shared evenly by the tasks; a validation takes that much longer
    share: float = 0.02  # of the pairs of a source and task, at most
    dims: tuple[int, ...] = ()  # numbers kept of each vector, scored beside the whole vectors
    metric: str = score_name(MEAN)  # what decides; or of one task, or of one of dims: mean_128_ndcg@10
    patience: int | None = None  # validations in a row without a new best that end the run; None: none do

    def __post_init__(self) -> None:
        for name in ("every_steps", "pairs_per_source", "max_pairs", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"validation: {name} = {value}: at least 1.")
        if self.keep == "last" and self.patience is not None:
            raise ValueError(
                f"validation: patience = {self.patience} with keep = 'last': a run that ends early keeps its "
                "best checkpoint. Leave one of the two out."
            )
        if not 0 < self.share < 1:
            raise ValueError(
                f"validation: share = {self.share}: a share of the pairs, above 0 and below 1, such as 0.02."
            )
        names = score_names(self.dims)
        if self.metric not in names:
            near = difflib.get_close_matches(self.metric, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the scores are {', '.join(names)}."
            raise ValueError(f"validation: metric = {self.metric!r} with dims = {list(self.dims)}: {hint}")

    def check(self, *, save_steps: int, matryoshka_dims: tuple[int, ...]) -> None:
        """Raise ValueError where the rest of the recipe does not go with this.

        Arguments: `save_steps`, optimiser steps between checkpoints; `matryoshka_dims`, those that train.
        """
        if self.keep == "best" and save_steps % self.every_steps:
            above = -(-save_steps // self.every_steps) * self.every_steps
            raise ValueError(
                f"validation: every_steps = {self.every_steps} does not divide save_steps = {save_steps}, "
                f"and the best checkpoint must be one that was scored: pass --set save_steps={above}."
            )
        if other := [dim for dim in self.dims if dim not in matryoshka_dims]:
            raise ValueError(
                f"validation: dims has {other[0]}, which is not among the trained matryoshka_dims "
                f"{matryoshka_dims}: pass some of these."
            )
