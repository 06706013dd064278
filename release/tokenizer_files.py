"""Tokenizer files that transformers 4, transformers 5 and `tokenizers` read alike.

transformers 5 saves class names, lists and nulls that transformers 4 stumbles over, and the truncation of
whichever call came last. What is written here is the small common set.
"""

import json
from pathlib import Path
from typing import Any

# Fields both generations know and mean the same by; special tokens (`…_token`) come on top.
_SHARED = (
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "additional_special_tokens",
    "clean_up_tokenization_spaces",
    "padding_side",
    "tokenizer_class",
    "truncation_side",
)
# The generic class of transformers 5, by the name transformers 4 gave it; 5 still knows that name.
_OLD_CLASS_NAMES = {"TokenizersBackend": "PreTrainedTokenizerFast"}


def write_tokenizer(run: Path, out: Path, *, max_length: int) -> None:
    """Write the tokenizer of the folder `run` into `out`.

    max_length: tokens, special tokens included; what both generations truncate to by default.

    A chat template is left behind, and `split_special_tokens` is always on: source code that spells out a
    special token must not become one.
    """
    pipeline = json.loads((run / "tokenizer.json").read_text(encoding="utf-8"))
    # A server that reads this file alone would cut or fill every text as the last call before saving did.
    pipeline["truncation"] = pipeline["padding"] = None
    text = json.dumps(pipeline, ensure_ascii=False, separators=(",", ":"))
    (out / "tokenizer.json").write_text(text + "\n", encoding="utf-8")

    saved = json.loads((run / "tokenizer_config.json").read_text(encoding="utf-8"))
    # transformers 4 dies of a list under transformers 5's name; both read the old name.
    extra = saved.get("extra_special_tokens")
    if isinstance(extra, list) and extra:
        saved["additional_special_tokens"] = extra
    fields = {
        key: value
        for key, value in saved.items()
        if value is not None and (key in _SHARED or (key.endswith("_token") and not key.startswith("add_")))
    }
    fields["tokenizer_class"] = _OLD_CLASS_NAMES.get(fields["tokenizer_class"], fields["tokenizer_class"])
    fields |= _bert_normalizer(pipeline)
    fields |= {"model_max_length": max_length, "split_special_tokens": True}
    text = json.dumps(fields, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    (out / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _bert_normalizer(pipeline: dict[str, Any]) -> dict[str, Any]:
    # transformers rebuilds BERT's normaliser from these three fields, whatever tokenizer.json says.
    normalizer = pipeline.get("normalizer") or {}
    if normalizer.get("type") != "BertNormalizer":
        return {}
    return {
        "do_lower_case": normalizer["lowercase"],
        "strip_accents": normalizer["strip_accents"],
        "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
    }
