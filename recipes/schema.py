"""What a recipe says: every field with its unit and special values, frozen once read."""

from dataclasses import dataclass
from typing import Literal

from codequarry.modules.decoder_shape import DecoderShape


@dataclass(frozen=True)
class Backbone:
    """What the model is built on."""

    name: str  # a folder, a packaged model or a Hub name; with random weights only a label
    weights: Literal["pretrained", "random"] = "pretrained"
    revision: str | None = None  # Hub commit; None pins today's in backbones.lock.json on the first download
    shape: DecoderShape | None = None  # needed for random weights; pretrained ones bring theirs
    tokenizer: str | None = None  # folder, for random weights; None trains one on the recipe's pairs


@dataclass(frozen=True)
class Recipe:
    """One model: what it is built on, what it is trained on, and how."""

    name: str
    backbone: Backbone
    data: str  # a folder or file of pairs: .jsonl, .jsonl.gz, .parquet
    pooling: Literal["lasttoken", "mean"]
    max_length: int  # tokens a text, prefix and special tokens included
    matryoshka_dims: tuple[int, ...]  # numbers a vector, largest first; the first is the hidden size
    batch_size: int  # pairs per optimiser step, over all ranks
    max_steps: int  # optimiser steps
    learning_rate: float  # peak, after warm-up
    temperature: float = 0.05  # divides the cosine similarity
    mini_batch_size: int = 32  # texts a forward pass inside one step (GradCache); costs time, saves memory
    dropout: float = 0.0  # share of values dropped while training; 0 is also twice as fast on a CPU
    warmup_ratio: float = 0.1  # share of max_steps over which the rate rises from 0
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = "linear"  # after the warm-up
    weight_decay: float = 0.01  # AdamW's
    max_grad_norm: float = 1.0  # gradients longer than this are scaled down to it
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # autocast; auto: bf16 where the processor has it
    save_steps: int = 100  # optimiser steps between checkpoints
    logging_steps: int = 10  # optimiser steps between log lines
    seed: int = 42  # of weights, data order and dropout

    def __post_init__(self) -> None:
        for field, least in (
            ("max_length", 32),
            ("batch_size", 2),
            ("max_steps", 1),
            ("mini_batch_size", 1),
            ("save_steps", 1),
            ("logging_steps", 1),
        ):
            if getattr(self, field) < least:
                raise ValueError(f"{field} = {getattr(self, field)} in recipe {self.name}: at least {least}.")
        if not 0 < self.temperature <= 1:
            raise ValueError(
                f"temperature = {self.temperature} in recipe {self.name}: it divides a cosine, so a number "
                "above 0 and at most 1, usually 0.01 to 0.1."
            )
        if not self.matryoshka_dims:
            raise ValueError(
                f"matryoshka_dims is empty in recipe {self.name}: name at least the hidden size."
            )
        if self.backbone.weights == "random" and self.backbone.shape is None:
            raise ValueError(f"random weights in recipe {self.name} need a [backbone.shape] table.")
