"""What text-embeddings-inference and vLLM need to find in a release: a row a field.

Both read the files themselves and say little when one is not as they expect: they refuse to start, or pool,
cut or attend in another way. The rows come from what the two document and from their sources
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


@dataclass(frozen=True)
class Need:
    """A field of a file of JSON, who needs it, what it has to be, and why.

    families: the `model_type`s that alone are asked for it; () for every one.
    """

    file: str
    field: str
    fits: Callable[[Any], bool]
    wanted: str
    reason: str
    families: tuple[str, ...] = ()

    def sentence(self, value: Any) -> str:
        """What is wrong with `value`."""
        return f"{self.file} has {self.field} {shown(value)}, not {self.wanted}: {self.reason}."


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _names_an_embedder(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and _is_text(value[0]) and value[0].endswith("Model")


def _is_rope(value: Any) -> bool:
    return isinstance(value, dict) and is_number(value.get("rope_theta")) and _is_text(value.get("rope_type"))


def _are_prompts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_CONFIG, _POOLING, _BERT = "config.json", "1_Pooling/config.json", "sentence_bert_config.json"

_WHOLE, _TEXT, _FLAG, _NUMBER = "a whole number", "a name", "true or false", "a number"

_NO_START = f"{TEI} does not start without it"


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; true and false are none."""
    return type(value) in (int, float) and abs(value) < 10**30 and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether `value` is a whole number above 0 of a size that a model may have; true and false are none."""
    return type(value) is int and 0 < value < 10**9


NEEDS = (
    Need(_CONFIG, "model_type", _is_text, _TEXT, f"{BOTH} choose the model's code by it"),
    Need(
        _CONFIG,
        "architectures",
        _names_an_embedder,
        "one class whose name ends in Model",
        f"{BOTH} would take the model for a generator or a classifier",
    ),
    Need(
        _CONFIG,
        "quantization_config",
        lambda value: value is None,
        "absent",
        f"the weights are stored as they are, and {BOTH} would unpack them",
    ),
    Need(_CONFIG, "dtype", _is_text, _TEXT, f"{VLLM} loads the weights as it says"),
    *(
        Need(_CONFIG, field, is_whole, _WHOLE, _NO_START)
        for field in ("max_position_embeddings", "vocab_size", "hidden_size", "num_hidden_layers")
    ),
    *(
        Need(_CONFIG, field, is_whole, _WHOLE, _NO_START, families=("bert", "qwen2"))
        for field in ("intermediate_size", "num_attention_heads")
    ),
    Need(_CONFIG, "hidden_act", _is_text, _TEXT, _NO_START, families=("bert", "qwen2")),
    Need(
        _CONFIG,
        "matryoshka_dimensions",
        lambda value: isinstance(value, list) and value != [] and all(map(is_whole, value)),
        "a list of whole numbers",
        f"{VLLM} answers a request with `dimensions` by it alone",
    ),
    Need(
        _CONFIG,
        "is_causal",
        _is_flag,
        _FLAG,
        f"{TEI} guesses without it, and {VLLM} attends both ways where it is false",
        families=("qwen2",),
    ),
    Need(_CONFIG, "num_key_value_heads", is_whole, _WHOLE, _NO_START, families=("qwen2",)),
    Need(_CONFIG, "rms_norm_eps", is_number, _NUMBER, _NO_START, families=("qwen2",)),
    Need(_CONFIG, "use_sliding_window", _is_flag, _FLAG, _NO_START, families=("qwen2",)),
    Need(
        _CONFIG,
        "rope_parameters",
        _is_rope,
        "an object with rope_theta and rope_type",
        f"{BOTH} place tokens by it",
        families=("qwen2",),
    ),
    Need(_CONFIG, "type_vocab_size", is_whole, _WHOLE, _NO_START, families=("bert",)),
    Need(
        _CONFIG,
        "pad_token_id",
        lambda value: value == 0 or is_whole(value),
        "the id of a token",
        _NO_START,
        families=("bert",),
    ),
    *(
        Need(_CONFIG, field, is_number, _NUMBER, _NO_START, families=("bert",))
        for field in ("layer_norm_eps", "hidden_dropout_prob", "initializer_range")
    ),
    Need(
        _CONFIG,
        "position_embedding_type",
        lambda value: value in (None, "absolute"),
        "absolute",
        f"{TEI} knows no other",
        families=("bert",),
    ),
    Need(
        _BERT,
        "max_seq_length",
        is_whole,
        "a whole number of tokens",
        f"{TEI} does not start without it, and {VLLM} cuts nothing",
    ),
    Need(
        _BERT,
        "do_lower_case",
        lambda value: value is False,
        "false",
        f"{VLLM} overlooks max_seq_length without it, and sentence-transformers would lower the text's case",
    ),
    *(
        Need(_POOLING, f"pooling_mode_{mode}", _is_flag, _FLAG, _NO_START)
        for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    ),
    Need(
        "config_sentence_transformers.json",
        "prompts",
        _are_prompts,
        "texts by name",
        f"{TEI} takes `prompt_name` from there",
    ),
    Need(
        "tokenizer_config.json",
        "padding_side",
        lambda value: value == "right",
        "right",
        f"{TEI} pads what it gives to onnx/model.onnx on that side",
    ),
    Need(
        "tokenizer_config.json",
        "truncation_side",
        lambda value: value in (None, "right"),
        "right",
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
    return [need.sentence(value) for need, value in rows if not need.fits(value)]


def shown(value: Any) -> str:
    """`value` as JSON, cut where it is long.

    >>> shown({"max_seq_length": None})
    '{"max_seq_length": null}'
    """
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
