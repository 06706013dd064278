"""A Qwen2-architecture decoder with random weights, and a tokenizer trained for it.

For `nano`, which is trained from a random start, and for running the 0.5b and 1.5b code on their true shapes
where the pretrained weights cannot be had.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2Model,
    Qwen2Tokenizer,
    set_seed,
)

from codequarry.modules.backbone import DecoderShape

END_OF_SEQUENCE = "<|endoftext|>"
PAD = "<|fim_pad|>"  # as in Qwen2.5-Coder's vocabulary, where it is not the end of sequence


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE of at most `vocabulary` tokens, trained on `texts`.

    Its pre-tokenizer is Qwen2's: transformers gives that one to every tokenizer of a `qwen2` model when it
    loads it, so a tokenizer trained with another would read other tokens than it was trained on (13% more,
    measured).
    """
    tokenizer: PreTrainedTokenizerBase = Qwen2Tokenizer().train_new_from_iterator(
        texts, vocab_size=vocabulary, new_special_tokens=[PAD]
    )
    tokenizer.pad_token = PAD
    return tokenizer


def write_random_backbone(
    folder: Path,
    shape: DecoderShape,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    dtype: str = "float32",
    as_bag_of_words: bool = False,
) -> Path:
    """Write configuration, random weights and tokenizer to `folder`, whole or not at all.

    Arguments: `seed` of the weights; `dtype` of them on disk; `as_bag_of_words`, for weights that are
    trained: see `_as_bag_of_words`; False leaves transformers' own weights, which exercise every part of the
    architecture. A folder that exists is kept: it is the one an interrupted run started from.
    """
    if folder.exists():
        return folder
    set_seed(seed)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype=dtype,
    )
    writing = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)
    model = Qwen2Model._from_config(config, dtype=dtype)
    if as_bag_of_words:
        _as_bag_of_words(model)
    model.save_pretrained(writing)
    tokenizer.save_pretrained(writing)
    writing.replace(folder)
    return folder


@torch.no_grad()
def _as_bag_of_words(model: Qwen2Model) -> None:
    """Make the last token's state nearly the mean of the tokens before it, so that texts which share words
    are near each other before the first step.

    Token embeddings get deviation 1, or the layers' outputs dominate them; that of the end of sequence is 0,
    so it attends to all tokens equally and holds only attention's output; MLPs begin by adding nothing.
    Without this an hour of training is hardly above chance (benchmarks/LOG.md).
    """
    tokens = model.embed_tokens.weight
    tokens.div_(model.config.initializer_range)
    tokens[model.config.eos_token_id] = 0
    for name, weights in model.named_parameters():
        if name.endswith("mlp.down_proj.weight"):
            weights.zero_()


def read_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, for random weights on a real vocabulary."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer
