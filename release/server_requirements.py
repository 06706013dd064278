"""What text-embeddings-inference and vLLM need to find in a release: a row per field.

Both read the files themselves and report little when one is not as they expect: they refuse to start, or
pool, cut or attend in another way. The rows come from what the two document and from their sources
(text-embeddings-inference 1.9.3, vLLM of 2026); sentence-transformers reads the same fields.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TEI = "text-embeddings-inference"
VLLM = "vLLM"
BOTH = f"{TEI} and {VLLM}"


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; true and false are none."""
    return type(value) in (int, float) and abs(value) < 10**30 and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether `value` is a whole number above 0 of a size that a model may have; true and false are none."""
    return type(value) is int and 0 < value < 10**9


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


@dataclass(frozen=True)
class Kind:
    """What a value has to be, in words, and the test of it."""

    words: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Need:
    """A field of a JSON file, what it has to be, and who needs it for what.

    families: the `model_type`s that need it; () for every one.
    """

    file: str
    field: str
    kind: Kind
    reason: str
    families: tuple[str, ...] = ()

    def sentence(self, value: Any) -> str:
        """What is wrong with `value`."""
        return f"{self.file} has {self.field} {shown(value)}, not {self.kind.words}: {self.reason}."


_WHOLE = Kind("a whole number", is_whole)
_TEXT = Kind("a name", _is_text)
_FLAG = Kind("true or false", lambda value: isinstance(value, bool))
_NUMBER = Kind("a number", is_number)
_EMBEDDER = Kind(
    "one class whose name ends in Model",
    lambda value: (
        isinstance(value, list) and len(value) == 1 and _is_text(value[0]) and value[0].endswith("Model")
    ),
)
_ROPE = Kind(
    "an object with rope_theta and rope_type",
    lambda value: (
        isinstance(value, dict) and is_number(value.get("rope_theta")) and _is_text(value.get("rope_type"))
    ),
)
_DIMS = Kind(
    "a list of whole numbers",
    lambda value: isinstance(value, list) and value != [] and all(map(is_whole, value)),
)
_PROMPTS = Kind(
    "texts by name",
    lambda value: isinstance(value, dict) and all(isinstance(text, str) for text in value.values()),
)
_RIGHT = Kind("right", lambda value: value == "right")

_CONFIG, _POOLING, _BERT = "config.json", "1_Pooling/config.json", "sentence_bert_config.json"
_TOKENIZER = "tokenizer_config.json"
_NO_START = f"{TEI} does not start without it"
_OF_BERT, _OF_QWEN2 = ("bert",), ("qwen2",)

NEEDS = (
    Need(_CONFIG, "model_type", _TEXT, f"{BOTH} choose the model's code by it"),
    Need(_CONFIG, "architectures", _EMBEDDER, f"{BOTH} would take the model for a generator or a classifier"),
    Need(
        _CONFIG,
        "quantization_config",
        Kind("absent", lambda value: value is None),
        f"the weights are stored as they are, and {BOTH} would unpack them",
    ),
    Need(_CONFIG, "dtype", _TEXT, f"{VLLM} loads the weights as it says"),
    Need(_CONFIG, "max_position_embeddings", _WHOLE, _NO_START),
    Need(_CONFIG, "vocab_size", _WHOLE, _NO_START),
    Need(_CONFIG, "hidden_size", _WHOLE, _NO_START),
    Need(_CONFIG, "num_hidden_layers", _WHOLE, _NO_START),
    Need(_CONFIG, "intermediate_size", _WHOLE, _NO_START, _OF_BERT + _OF_QWEN2),
    Need(_CONFIG, "num_attention_heads", _WHOLE, _NO_START, _OF_BERT + _OF_QWEN2),
    Need(_CONFIG, "hidden_act", _TEXT, _NO_START, _OF_BERT + _OF_QWEN2),
    Need(_CONFIG, "matryoshka_dimensions", _DIMS, f"{VLLM} answers a request with `dimensions` by it alone"),
    Need(
        _CONFIG,
        "is_causal",
        _FLAG,
        f"{TEI} guesses without it, and {VLLM} attends both ways where it is false",
        _OF_QWEN2,
    ),
    Need(_CONFIG, "num_key_value_heads", _WHOLE, _NO_START, _OF_QWEN2),
    Need(_CONFIG, "rms_norm_eps", _NUMBER, _NO_START, _OF_QWEN2),
    Need(_CONFIG, "use_sliding_window", _FLAG, _NO_START, _OF_QWEN2),
    Need(_CONFIG, "rope_parameters", _ROPE, f"{BOTH} place tokens by it", _OF_QWEN2),
    Need(_CONFIG, "type_vocab_size", _WHOLE, _NO_START, _OF_BERT),
    Need(
        _CONFIG,
        "pad_token_id",
        Kind("the id of a token", lambda value: value == 0 or is_whole(value)),
        _NO_START,
        _OF_BERT,
    ),
    Need(_CONFIG, "layer_norm_eps", _NUMBER, _NO_START, _OF_BERT),
    Need(_CONFIG, "hidden_dropout_prob", _NUMBER, _NO_START, _OF_BERT),
    Need(_CONFIG, "initializer_range", _NUMBER, _NO_START, _OF_BERT),
    Need(
        _CONFIG,
        "position_embedding_type",
        Kind("absolute", lambda value: value in (None, "absolute")),
        f"{TEI} knows no other",
        _OF_BERT,
    ),
    Need(
        _BERT,
        "max_seq_length",
        Kind("a whole number of tokens", is_whole),
        f"{TEI} does not start without it, and {VLLM} cuts nothing",
    ),
    Need(
        _BERT,
        "do_lower_case",
        Kind("false", lambda value: value is False),
        f"{VLLM} overlooks max_seq_length without it, and sentence-transformers would lower the text's case",
    ),
    *(
        Need(_POOLING, f"pooling_mode_{mode}", _FLAG, _NO_START)
        for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    ),
    Need("config_sentence_transformers.json", "prompts", _PROMPTS, f"{TEI} takes `prompt_name` from there"),
    Need(_TOKENIZER, "padding_side", _RIGHT, f"{TEI} pads what it gives to onnx/model.onnx on that side"),
    Need(
        _TOKENIZER,
        "truncation_side",
        Kind("right", lambda value: value in (None, "right")),
        "from a text past the limit the prompt would be cut away",
    ),
)


def unmet_needs(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence for each of `NEEDS` that the files, objects by their name, do not meet.

    >>> unmet_needs({"config.json": json.loads(path.read_text()), ...})
    []
    """
    family = files[_CONFIG].get("model_type")
    rows = [
        (need, files[need.file].get(need.field)) for need in NEEDS if family in (need.families or [family])
    ]
    return [need.sentence(value) for need, value in rows if not need.kind.fits(value)]


def shown(value: Any) -> str:
    """`value` as JSON, cut where it is long.

    >>> shown({"max_seq_length": None})
    '{"max_seq_length": null}'
    """
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
