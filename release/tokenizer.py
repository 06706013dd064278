"""Tokenizer files that transformers 4, transformers 5 and `tokenizers` read alike.

transformers 5 saves class names, lists and nulls that transformers 4 does not read, and the truncation of the
last call. What is written here is the small common set.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from codequarry.common.files import read_json, write_text
from codequarry.modules.attention import Attention
from codequarry.modules.static_files import is_static
from codequarry.release.golden import golden_texts

# Fields with the same meaning in both generations; special tokens (`…_token`) are written as well.
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

# The generic class of transformers 5, by its name in transformers 4, which 5 still accepts.
_OLD_CLASS_NAMES = {"TokenizersBackend": "PreTrainedTokenizerFast"}


def write_tokenizer(run: Path, out: Path, *, max_length: int) -> None:
    """Write the tokenizer of the folder `run` into `out`.

    max_length: tokens, special tokens included; what both generations truncate to by default.

    A chat template is left behind, and `split_special_tokens` is always on: source code that spells out a
    special token must not become one.
    """
    pipeline = read_json(run / "tokenizer.json")
    # A server that reads this file alone would cut or pad every text as the last call before saving did.
    pipeline["truncation"] = pipeline["padding"] = None
    text = json.dumps(pipeline, ensure_ascii=False, separators=(",", ":"))
    write_text(out / "tokenizer.json", text + "\n")

    saved = read_json(run / "tokenizer_config.json")
    # transformers 4 raises on a list under transformers 5's name; both read the old name.
    if isinstance(extra := saved.get("extra_special_tokens"), list) and extra:
        saved["additional_special_tokens"] = extra
    fields = {key: value for key, value in saved.items() if value is not None and _is_shared(key)}
    fields["tokenizer_class"] = _OLD_CLASS_NAMES.get(fields["tokenizer_class"], fields["tokenizer_class"])
    normalizer = pipeline.get("normalizer") or {}
    if normalizer.get("type") == "BertNormalizer":
        # transformers rebuilds BERT's normaliser from these three fields, whatever tokenizer.json says.
        fields["do_lower_case"] = normalizer["lowercase"]
        fields["strip_accents"] = normalizer["strip_accents"]
        fields["tokenize_chinese_chars"] = normalizer["handle_chinese_chars"]
    fields |= {"model_max_length": max_length, "split_special_tokens": True}
    text = json.dumps(fields, indent=2, ensure_ascii=False, sort_keys=True)
    write_text(out / "tokenizer_config.json", text + "\n")


_OF_BERT = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")


def _is_shared(field: str) -> bool:
    return field in _SHARED or (field.endswith("_token") and not field.startswith("add_"))


def is_known_field(field: str) -> bool:
    """Whether a release's `tokenizer_config.json` may have it."""
    return _is_shared(field) or field in (*_OF_BERT, "model_max_length", "split_special_tokens")


LONE_READER = "servers that read tokenizer.json alone (text-embeddings-inference)"


def check_tokenizer(folder: Path) -> tuple[list[str], list[str]]:
    """(problems, exceptions) of the folder's tokenizer, each a sentence.

    Raises what `tokenizers` and transformers raise on files they cannot read.
    """
    if is_static(folder):
        return [], []  # it is one file, which `check_fields` has looked at
    from transformers import AutoTokenizer

    lone = Tokenizer.from_file(str(folder / "tokenizer.json"))
    full = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    config = read_json(folder / "config.json")
    problems = [*_file_problems(folder, full.get_vocab(), config["vocab_size"])]
    if Attention.of(config).causal and (last := lone.encode("x").tokens[-1]) != full.eos_token:
        problems.append(
            f"tokenizer.json ends a text with {last!r}, not with the end-of-sequence {full.eos_token!r}, "
            "whose vector is the embedding of a decoder."
        )
    prompts = read_json(folder / "config_sentence_transformers.json")["prompts"]
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
    exception = (
        f"{LONE_READER}: tokenizer.json cannot carry split_special_tokens, so {', '.join(forged)} "
        "inside a text becomes that special token there; transformers reads it as ordinary characters."
    )
    return problems, [exception] if forged else []


def _file_problems(folder: Path, vocabulary: dict[str, int], rows: int) -> Iterator[str]:
    import transformers

    pipeline = read_json(folder / "tokenizer.json")
    for name in ("truncation", "padding"):
        if pipeline.get(name) is not None:
            yield f"tokenizer.json carries {name}, which servers would apply to every text."
    name = read_json(folder / "tokenizer_config.json").get("tokenizer_class")
    if not isinstance(name, str) or not hasattr(transformers, name):
        yield f"tokenizer_config.json has tokenizer_class {name!r}, which transformers does not know."
    if beyond := sorted(token for token, number in vocabulary.items() if number >= rows):
        yield (
            f"The tokenizer has {len(beyond)} tokens, such as {beyond[0]!r}, past the {rows} rows of "
            "embeddings that config.json names (vocab_size)."
        )
