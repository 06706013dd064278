"""A recipe's `[lora]` table: train two thin matrices a layer instead of the layer's own weights."""

from dataclasses import dataclass

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

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"lora: rank = {self.rank}: at least 1, usually 8 to 64.")
        if not self.alpha > 0:
            raise ValueError(f"lora: alpha = {self.alpha}: a number above 0, often twice the rank.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora: dropout = {self.dropout}: a share from 0 to below 1, such as 0.05.")
        if not self.targets:
            raise ValueError(
                f'lora: targets is empty: name linear layers, e.g. ["q_proj", "v_proj"], or ["{ALL_LINEAR}"].'
            )
        if ALL_LINEAR in self.targets and len(self.targets) > 1:
            others = ", ".join(name for name in self.targets if name != ALL_LINEAR)
            raise ValueError(f'lora: "{ALL_LINEAR}" already holds {others}: write one of the two.')
