"""What `CodeEmbedder.save` adds to a folder: a card, and three golden vectors that `load` compares."""

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from codequarry.common.files import file_sha256, write_text
from codequarry.modules.backbone import SHIPPED
from codequarry.modules.golden_vectors import GOLDEN, golden_json
from codequarry.modules.tasks import family_of, wrong_prompts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
CARD = "README.md"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base.json"  # of an adapter's folder: see `modules/adapter_folder.py`

# The longest prompt with code below it; letters outside ASCII, in both cases; names of special tokens.
_TEXTS = (
    (
        "code2completion_query",
        "ordinary",
        "def area(width, height):\n    if width < 0:\n        raise ValueError",
    ),
    ("code2code_query", "ordinary", "Gr\u00f6\u00dfe = MAX_SIZE  # \u5927\u5c0f"),
    ("code2nl_query", "special_tokens", "stop = '{special}'  # the end"),
)


def is_exact(model: "SentenceTransformer") -> bool:
    """Whether `model` computes in float32 on a CPU, and so the same numbers elsewhere to within rounding."""
    first = next(model.parameters())
    try:
        precise = torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # the newer setting, which training uses, is not "highest" on this backend
        precise = False
    if "forward" in vars(model):  # accelerate's, which computes in half precision, on a model that it trained
        return False
    return first.device.type == "cpu" and first.dtype == torch.float32 and precise


def write_golden_sample(folder: Path, model: "SentenceTransformer") -> None:
    """Write `golden_vectors.json` with three texts, in a release's form, for `load` to compare with.

    A model that has no prompt family, which `load` refuses, has none: an older file is removed.
    """
    if wrong_prompts(model.prompts):
        (folder / GOLDEN).unlink(missing_ok=True)
        return
    special = next(iter(model.tokenizer.all_special_tokens), "<s>")
    texts = [(name, kind, text.format(special=special)) for name, kind, text in _TEXTS]
    prompted = [f"{model.prompts[name]}{text}" for name, _, text in texts]
    whole = copy.copy(model)  # shares everything; another thread may be encoding with `model`
    whole.truncate_dim = None
    training = [module for module in model.modules() if module.training]
    tokens: Any = model.tokenizer.backend_tokenizer
    padding, truncation = tokens.padding, tokens.truncation
    try:
        vectors = whole.encode(prompted, prompt="", show_progress_bar=False)
    finally:
        for module in training:  # `encode` switches dropout off
            module.training = True
        # It leaves its own lengths in the tokenizer as well, where the next save would write them.
        tokens.no_padding() if padding is None else tokens.enable_padding(**padding)
        tokens.no_truncation() if truncation is None else tokens.enable_truncation(**truncation)
    dims = getattr(getattr(model, "config", None), "matryoshka_dimensions", None) or [len(vectors[0])]
    head = {
        "prompts": family_of(model.prompts).prompts(),
        "dims": list(dims),
        "max_length": model.max_seq_length,
        "exact": is_exact(model),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "sha256": {name: file_sha256(folder / name) for name in TOKENIZER if (folder / name).is_file()},
    }
    write_text(
        folder / GOLDEN,
        golden_json(head, ((*text, vector) for text, vector in zip(texts, vectors, strict=True))),
    )


_HUB_CACHE = re.compile(r"models--([\w.-]+?)--([\w.-]+)")


def base_of(read_from: str) -> str | None:
    """The public name of the weights in the folder or Hub name `read_from`; None for a folder of the user's.

    >>> base_of("/cache/models--Qwen--Qwen2.5-Coder-0.5B/snapshots/0a1b")
    'Qwen/Qwen2.5-Coder-0.5B'
    """
    if found := _HUB_CACHE.search(read_from):
        return f"{found[1]}/{found[2]}"
    for name, folder in SHIPPED.items():
        if read_from and Path(read_from) == folder:
            return name
    named = read_from.count("/") == 1 and not read_from.startswith((".", "/", "~"))
    return read_from if named and not Path(read_from).exists() else None


def write_card(folder: Path, model: "SentenceTransformer") -> None:
    """Write a card, unless the folder has one; a model that was loaded with its card keeps that one.

    Without the network, which sentence-transformers' own cards ask for facts about the base.
    """
    if (folder / CARD).exists():
        return
    loaded = None
    if "generated_from_trainer" not in model.model_card_data.tags:  # trained since, it is another model
        loaded = model._model_card_text  # private, read in 6.2.0: the README.md of the folder that was loaded
    write_text(folder / CARD, loaded or card_text(model))


def card_text(model: "SentenceTransformer") -> str:
    """A short card: what the model is, and how it is loaded; nothing that was not measured is claimed.

    A release's card, which `model_card` renders from the run's record, takes its place.
    """
    dims = list(getattr(getattr(model, "config", None), "matryoshka_dimensions", None) or ())
    dims = dims or [model.get_embedding_dimension()]
    base = base_of(str(getattr(getattr(model, "transformers_model", None), "name_or_path", "")))
    on_hub = base is not None and "/" in base
    classes = [getattr(module, "stock_class", type(module)).__name__ for module in model.children()]
    head = ["---", *([f"base_model: {base}"] if on_hub else []), "library_name: sentence-transformers"]
    head += ["pipeline_tag: feature-extraction", "tags:", "- sentence-transformers", "- code", "---"]
    prompts = "\n".join(
        f"| `{key}` | {json.dumps(text, ensure_ascii=False)} |" for key, text in model.prompts.items()
    )
    example = "nl2code_query" if "nl2code_query" in model.prompts else next(iter(model.prompts), "query")
    return "\n".join(
        [
            *head,
            "",
            "# A model of code",
            "",
            "A model that turns code and questions about code into vectors, saved with codequarry. Nothing "
            "about its quality was recorded when it was saved: scores, training data and licence are not "
            "stated here.",
            "",
            "| | |",
            "| --- | --- |",
            f"| base | {base or 'a local folder, not recorded'} |",
            f"| modules | {' → '.join(classes)} |",
            f"| embedding sizes | {', '.join(map(str, dims))} |",
            f"| longest text | {model.max_seq_length} tokens, prompt included |",
            "",
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            'model = SentenceTransformer("path/to/this/folder")',
            f'vectors = model.encode(["parse a date"], prompt_name="{example}")',
            "```",
            "",
            'or `codequarry.load("path/to/this/folder")`, which also checks the folder. Every text needs its '
            "prompt:",
            "",
            "| prompt | text in front |",
            "| --- | --- |",
            prompts,
            "",
        ]
    )
