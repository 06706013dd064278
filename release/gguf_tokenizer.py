"""A byte-level BPE tokenizer in GGUF's terms, for llama.cpp to split texts as `tokenizer.json` does."""

import json
from pathlib import Path
from typing import Any

# What llama.cpp calls the ways it can split a text into words before merging, by their regular expression.
_SPLITS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+": "qwen2"
}


def write_tokenizer(writer: Any, release: Path, config: dict[str, Any]) -> None:
    """Put the tokenizer of the folder `release` into `writer`, a `gguf.GGUFWriter`.

    Texts end with the end-of-sequence and have nothing in front. A token is special there exactly if it is
    here. GGUF has no place for Unicode normalisation: whoever calls llama.cpp composes letters (NFC) first.

    Raises ValueError for a tokenizer that is not byte-level BPE with a split that llama.cpp has.
    """
    import gguf

    pipeline = json.loads((release / "tokenizer.json").read_text(encoding="utf-8"))
    bpe, added = pipeline["model"], {row["id"]: row for row in pipeline["added_tokens"]}
    names = {number: name for name, number in bpe["vocab"].items()}
    tokens, kinds = [], []
    for number in range(config["vocab_size"]):
        if number in added:
            tokens.append(added[number]["content"])
            special = added[number]["special"]
            kinds.append(gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED)
        else:
            tokens.append(names.get(number, f"[PAD{number}]"))
            kinds.append(gguf.TokenType.NORMAL if number in names else gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_split(pipeline))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in bpe["merges"]])
    named = json.loads((release / "tokenizer_config.json").read_text(encoding="utf-8"))
    writer.add_eos_token_id(tokens.index(named["eos_token"]))
    writer.add_pad_token_id(tokens.index(named["pad_token"]))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)


def _split(pipeline: dict[str, Any]) -> str:
    steps = (pipeline["pre_tokenizer"] or {}).get("pretokenizers", [])
    pattern = next((step["pattern"].get("Regex") for step in steps if step["type"] == "Split"), None)
    if pipeline["model"]["type"] != "BPE" or pattern not in _SPLITS:
        raise ValueError(
            f"tokenizer.json is {pipeline['model']['type']} split by {pattern!r}, and llama.cpp is told the "
            f"splits of {', '.join(_SPLITS.values())} only: a GGUF of it would read other tokens."
        )
    return _SPLITS[pattern]
