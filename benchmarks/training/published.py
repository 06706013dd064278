"""How long the models' authors trained, as they published it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTraining:
    """One training run of a paper.

    recipe: ours of the same size. hours: of all GPUs together, by the clock.
    """

    recipe: str
    model: str
    hours: float
    gpus: int
    gpu: str
    source: str


PUBLISHED = {
    row.recipe: row
    for row in (
        PublishedTraining(
            "0.5b", "jina-code-embeddings-0.5b", 8.3, 4, "A100 80 GB", "https://arxiv.org/abs/2508.21290"
        ),
        PublishedTraining(
            "1.5b", "jina-code-embeddings-1.5b", 12.0, 4, "A100 80 GB", "https://arxiv.org/abs/2508.21290"
        ),
    )
}
