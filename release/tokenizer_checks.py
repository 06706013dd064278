"""What a server reads that opens `tokenizer.json` alone, beside what transformers makes of the folder.

text-embeddings-inference is such a server. The two must give the same ids for every ordinary text. For a text
that spells out a special token they cannot: `split_special_tokens` lives in `tokenizer_config.json`, which
such a server does not read. That is an exception with a name, not a failure.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer

from codequarry.modules.tasks import prompts
from codequarry.release.golden import golden_texts

LONE_READER = "servers that read tokenizer.json alone (text-embeddings-inference)"


def check_tokenizer(folder: Path) -> tuple[list[str], list[str]]:
    """(problems, exceptions) of the folder's tokenizer, each a sentence.

    Raises what `tokenizers` and transformers raise on files they cannot read.
    """
    from transformers import AutoTokenizer

    lone = Tokenizer.from_file(str(folder / "tokenizer.json"))
    full = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    problems = _truncation(folder) + _end_of_sequence(folder, lone, full.eos_token)
    forged = []
    for text in golden_texts(full.model_max_length, tuple(full.all_special_tokens)):
        joined = prompts()[text.prompt_name] + text.text
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
    pipeline = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return [
        f"tokenizer.json carries {name}, which servers would apply to every text."
        for name in ("truncation", "padding")
        if pipeline.get(name) is not None
    ]


def _end_of_sequence(folder: Path, lone: Tokenizer, eos: str | None) -> list[str]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not config.get("is_causal"):
        return []
    tokens = lone.encode("x").tokens
    if eos is None or tokens[-1] != eos:
        return [
            f"tokenizer.json ends a text with {tokens[-1]!r}, not with the end-of-sequence {eos!r}, whose "
            "vector is the embedding of a decoder."
        ]
    return []
