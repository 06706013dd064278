"""Does every GGUF file of a folder say how it is to be used? Read from its metadata, without llama.cpp."""

import json
from pathlib import Path
from typing import Any

from codequarry.release.gguf_export import DIMS_KEY, PROMPT_KEY, TYPES
from codequarry.release.golden import GOLDEN
from codequarry.release.run_folder import family_trained_with


def is_gguf(folder: Path) -> bool:
    """Whether `folder` is one that `export_gguf` wrote, not a release in sentence-transformers' layout."""
    return any(folder.glob("*.gguf")) and not (folder / "modules.json").exists()


def check_gguf(folder: Path) -> list[str]:
    """One sentence for each thing in a file's metadata that would make llama.cpp embed otherwise.

    Raises ValueError when the package gguf, which reads them, is missing.
    """
    try:
        import gguf
    except ImportError as error:
        raise ValueError("Reading GGUF files needs gguf: pip install 'codequarry[gguf]'") from error
    try:
        dims = json.loads((folder / GOLDEN).read_text(encoding="utf-8"))["dims"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{GOLDEN} cannot be read ({type(error).__name__})."]
    try:
        prompts = family_trained_with(json.loads((folder / "training.json").read_text("utf-8"))).prompts()
    except (OSError, ValueError, AttributeError) as error:
        return [f"training.json does not say which prompts the model has ({error})."]
    problems = []
    for path in sorted(folder.glob("*.gguf")):
        try:
            fields = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
        except (OSError, ValueError, KeyError, IndexError) as error:
            problems.append(f"{path.name} cannot be read: {error}.")
            continue
        found = _name(path) + _values(fields, _expected(dims, prompts)) + _end_and_chat(fields)
        problems += [f"{path.name}: {problem}" for problem in found]
    return problems


def _expected(dims: list[int], prompts: dict[str, str]) -> dict[str, Any]:
    from gguf import PoolingType

    return {
        "general.architecture": "qwen2",
        "qwen2.pooling_type": int(PoolingType.LAST),
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": True,
        DIMS_KEY: dims,
    } | {PROMPT_KEY.format(name): prompt for name, prompt in prompts.items()}


def _name(path: Path) -> list[str]:
    if path.stem.rpartition("-")[2] in TYPES:
        return []
    return [f"its name does not end in -{', -'.join(TYPES)}, so that no tolerance is known for it."]


def _values(fields: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    return [
        f"{name} is {json.dumps(fields.get(name))}, not {json.dumps(value)}."
        for name, value in expected.items()
        if fields.get(name) != value
    ]


def _end_and_chat(fields: dict[str, Any]) -> list[str]:
    problems = []
    end, tokens = fields.get("tokenizer.ggml.eos_token_id"), fields.get("tokenizer.ggml.tokens") or []
    if not isinstance(end, int) or not 0 <= end < len(tokens):
        problems.append(
            f"there is no end-of-sequence among its {len(tokens)} tokens, whose vector is the embedding."
        )
    if "tokenizer.chat_template" in fields:
        problems.append("it has a chat template, which makes servers take it for a model that chats.")
    return problems
