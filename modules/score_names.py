"""What the scores of a validation are called, in recipes, logs and pictures."""

from collections.abc import Sequence

from codequarry.modules.tasks import TASKS

MEAN = "mean"  # over the tasks, each counting the same


def score_name(of: str, dims: int | None = None) -> str:
    """The name of nDCG@10 of a task, or of `MEAN`, on vectors of `dims` numbers; None for whole ones.

    >>> score_name("nl2code"), score_name(MEAN, 128)
    ('nl2code_ndcg@10', 'mean_128_ndcg@10')
    """
    return f"{of}_ndcg@10" if dims is None else f"{of}_{dims}_ndcg@10"


def score_names(dims: Sequence[int] = ()) -> list[str]:
    """Every score that a validation with these `dims`, beside the whole vectors, can give."""
    return [score_name(of, size) for size in (None, *dims) for of in (MEAN, *TASKS)]
