"""What a server reads that opens `tokenizer.json` alone, beside what transformers makes of the folder.

text-embeddings-inference is such a server. The two must give the same ids for every ordinary text. For a text
that spells out a special token they cannot: `split_special_tokens` lives in `tokenizer_config.json`, which
such a server does not read. That is an exception with a name, not a failure.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from codequarry.modules.attention import Attention
from codequarry.release.golden import golden_texts

LONE_READER = "servers that read tokenizer.json alone (text-embeddings-inference)"


def check_tokenizer(folder: Path) -> tuple[list[str], list[str]]:
    """(problems, exceptions) of the folder's tokenizer, each a sentence.

    Raises what `tokenizers` and transformers raise on files they cannot read.
    """
    from transformers import AutoTokenizer

    lone = Tokenizer.from_file(str(folder / "tokenizer.json"))
    full = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    config = _json(folder / "config.json")
    problems = _truncation(folder) + _class(folder) + _rows(full.get_vocab(), config["vocab_size"])
    problems += _end_of_sequence(lone, full.eos_token) if Attention.of(config).causal else []
    prompts = _json(folder / "config_sentence_transformers.json")["prompts"]
    forged = []
    for text in golden_texts(full.model_max_length, tuple(full.all_special_tokens)):
        joined = prompts[text.prompt_name] + text.text
        # verbose=False: the text past the limit is meant to be past it.
        same = lone.encode(joined).ids == full(joined, truncation=False, verbose=False)["input_ids"]
        if not same and text.kind == "special_tokens":
            forged.append(text.text.split("'")[1])
        elif not same:
            problems.append(
                f"tokenizer.json read alone gives other ids than transformers for {text.text[:40]!r} "
                f"(prompt {text.prompt_name})."
            )
    exceptions = []
    if forged:
        exceptions.append(
            f"{LONE_READER}: tokenizer.json cannot carry split_special_tokens, so {', '.join(forged)} "
            "inside a text becomes that special token there; transformers reads it as ordinary characters."
        )
    return problems, exceptions


def _truncation(folder: Path) -> list[str]:
    pipeline = _json(folder / "tokenizer.json")
    return [
        f"tokenizer.json carries {name}, which servers would apply to every text."
        for name in ("truncation", "padding")
        if pipeline.get(name) is not None
    ]


def _class(folder: Path) -> list[str]:
    import transformers

    name = _json(folder / "tokenizer_config.json").get("tokenizer_class")
    if isinstance(name, str) and hasattr(transformers, name):
        return []
    return [f"tokenizer_config.json has tokenizer_class {name!r}, which transformers does not know."]


def _rows(vocabulary: dict[str, int], rows: int) -> list[str]:
    beyond = sorted(token for token, number in vocabulary.items() if number >= rows)
    if not beyond:
        return []
    return [
        f"The tokenizer has {len(beyond)} tokens, such as {beyond[0]!r}, past the {rows} rows of embeddings "
        "that config.json names (vocab_size)."
    ]


def _end_of_sequence(lone: Tokenizer, eos: str | None) -> list[str]:
    tokens = lone.encode("x").tokens
    if eos is None or tokens[-1] != eos:
        return [
            f"tokenizer.json ends a text with {tokens[-1]!r}, not with the end-of-sequence {eos!r}, whose "
            "vector is the embedding of a decoder."
        ]
    return []


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
