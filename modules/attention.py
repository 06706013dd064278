"""How a backbone attends, as its configuration says: causal or bidirectional, everywhere or in a window."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attention:
    """What a token of a backbone sees.

    causal: only tokens before it, so that the last token alone has read the whole text; False: both sides.
    sliding_window: in layers with a window, a token sees those less than so many tokens away; None: no such
        layers.

    >>> Attention.of({"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 32768})
    Attention(causal=True, sliding_window=None)
    """

    causal: bool
    sliding_window: int | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Attention":
        """The attention of a configuration, as `config.json` or `PreTrainedConfig.to_dict()` has it.

        Values of another type than transformers writes count as absent.
        """
        return cls(_is_causal(config), _sliding_window(config))


def spans(config: Mapping[str, Any]) -> set[int]:
    """The numbers of tokens in a configuration after which some layer may stop looking.

    Sliding windows, chunks and blocks, under whatever name with one of these words, also of nested
    configurations; a sliding window that no layer uses is left out. For a probe that goes past all of them.

    >>> spans({"model_type": "llama4_text", "attention_chunk_size": 8192})
    {8192}
    """
    used = _sliding_window(config)
    found = {used} if used is not None else set()
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= spans(value)
        elif _SPAN.search(str(name)) and (name != "sliding_window" or used is not None):
            items = value if isinstance(value, list | tuple) else [value]
            found |= {item for item in items if type(item) is int}
    return found


_SPAN = re.compile(r"window|chunk|block_size|local_attention")


def _is_causal(config: Mapping[str, Any]) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if config.get("is_encoder_decoder") is True:  # its encoder embeds
        return False
    # Families that transformers trains on masked tokens attend both ways and never read `is_causal`.
    if str(config.get("model_type")) in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return config.get("is_decoder") is True
    # transformers' create_causal_mask (read in 5.23): a family that does not name it is causal.
    return config.get("is_causal") is not False and config.get("use_bidirectional_attention") is not True


def _sliding_window(config: Mapping[str, Any]) -> int | None:
    kinds = config.get("layer_types")
    if config.get("use_sliding_window") is False:  # Qwen names a window that it does not use
        return None
    if isinstance(kinds, list) and "sliding_attention" not in kinds:
        return None
    # ModernBERT and the bidirectional Gemma 3 name both sides together, and transformers halves the number.
    both_sides, window = config.get("local_attention"), config.get("sliding_window")
    if type(both_sides) is int:
        return both_sides // 2 + 1
    if type(window) is not int:
        return None
    return window // 2 + 1 if config.get("use_bidirectional_attention") is True else window
