"""The size of a decoder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DecoderShape:
    """How large a Qwen2-architecture decoder is that starts from random weights."""

    hidden_size: int  # numbers a hidden state, and an embedding
    layers: int
    heads: int  # query heads
    kv_heads: int  # key and value heads; fewer than `heads` is grouped-query attention
    intermediate_size: int  # of the gated feed-forward block
    vocabulary: int  # rows of the token table; also the size of a tokenizer trained for it
    rope_theta: float = 1_000_000.0  # base of the rotary frequencies
