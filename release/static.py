"""The release of a static model: its layout, and what must be so in it.

    config.json, model.safetensors, tokenizer.json    as model2vec and sentence-transformers read them
    modules.json, 1_Normalize/                        for sentence-transformers
    config_sentence_transformers.json                 prompts

There is no tokenizer_config.json: transformers reads no such model, and `tokenizer.json` alone says all.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import UserError
from codequarry.common.files import read_json, share_weights, write_json, write_text
from codequarry.modules.static_files import CONFIG, ROWS, STATIC, TOKENS, read_static_files
from codequarry.modules.static_files import WEIGHTS as ROWS_FILE
from codequarry.release.module_list import STATIC_PLAIN, module_rows, places

if TYPE_CHECKING:
    from codequarry.release.trained_run import RunFolder

STATIC_NEEDED = ("modules.json", CONFIG, "config_sentence_transformers.json", TOKENS, "training.json")

# A golden text is longer than this: model2vec cuts there, unless config.json says otherwise.
STATIC_LENGTH = 512

NORMALIZE_FIELDS = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
_CONFIG_FIELDS = {
    "architectures", "dtype", "hidden_size", "matryoshka_dimensions", "max_length", "model_type", "normalize",
    "vocab_size",
}  # fmt: skip
# White space is dropped by a pattern, and identifiers are split by another: these steps and no more.
_NORMALIZERS = ["Replace", "NFC", "Replace", "Lowercase"]
_PRE_TOKENIZERS = ["Split", "ByteLevel"]


def write_static_layout(run: "RunFolder", out: Path) -> None:
    """Write rows in float16, tokenizer, modules and configuration of `run` into the empty folder `out`.

    float16 and not bfloat16: numpy, and so model2vec, has no bfloat16; and it is eight times as exact.

    Raises UserError where a row is past what float16 holds.
    """
    import numpy as np
    from safetensors.numpy import save_file

    files = read_static_files(run.folder)
    with np.errstate(over="ignore"):
        rows = files.rows.astype(np.float16)
    if not np.isfinite(rows).all():
        raise UserError(
            f"{run.folder} has numbers past 65,504, where float16 ends: train it with a lower rate."
        )
    save_file({ROWS: rows}, out / ROWS_FILE, metadata={"format": "pt"})
    share_weights(out)
    write_json(out / CONFIG, dict(sorted((run.config | {"dtype": "float16"}).items())))
    text = json.dumps(read_json(run.folder / TOKENS), ensure_ascii=False, separators=(",", ":"))
    write_text(out / TOKENS, text + "\n")
    modules = places(STATIC_PLAIN)
    write_json(out / "modules.json", module_rows(modules))
    (out / modules[1][1]).mkdir()
    write_json(out / modules[1][1] / "config.json", NORMALIZE_FIELDS)


def check_static_files(folder: Path, config: dict[str, Any]) -> list[str]:
    """One sentence for each thing in rows, tokenizer and `config` that the layout has otherwise."""
    try:
        files = read_static_files(folder)
    except UserError as error:
        return [str(error)]
    tokens, size = files.rows.shape
    wanted = {
        "architectures": ["StaticModel"], "dtype": "float16", "hidden_size": size, "max_length": None,
        "model_type": STATIC, "normalize": True, "vocab_size": tokens,
    }  # fmt: skip
    problems = [
        f"{CONFIG} has {name} {config.get(name)!r}, the layout {value!r}."
        for name, value in wanted.items()
        if config.get(name, name) != value
    ]
    if unknown := sorted(config.keys() - _CONFIG_FIELDS):
        problems.append(
            f"{CONFIG} has {', '.join(unknown)}, not written by a release: some reader may follow it."
        )
    dims = config.get("matryoshka_dimensions")
    whole = isinstance(dims, list) and all(type(dim) is int and dim > 0 for dim in dims)
    if not isinstance(dims, list) or not whole or dims[:1] != [size] or dims != sorted({*dims}, reverse=True):
        problems.append(
            f"{CONFIG} has matryoshka_dimensions {dims}: they must fall, without repeats, from {size}."
        )
    return problems + _tokenizer_problems(folder) + _row_problems(folder)


def _tokenizer_problems(folder: Path) -> list[str]:
    pipeline = read_json(folder / TOKENS)
    problems = [
        f"{TOKENS} carries {name}, which would be applied to every text."
        for name in ("truncation", "padding", "post_processor")
        if pipeline.get(name) is not None
    ]
    if pipeline.get("added_tokens"):
        problems.append(f"{TOKENS} has added_tokens, which a text could spell out; a static model has none.")
    for part, inner, expected in (
        ("normalizer", "normalizers", _NORMALIZERS),
        ("pre_tokenizer", "pretokenizers", _PRE_TOKENIZERS),
    ):
        found = [
            str(row.get("type"))
            for row in (pipeline.get(part) or {}).get(inner) or []
            if isinstance(row, dict)
        ]
        if found != expected:
            problems.append(
                f"{TOKENS} has the {part} {', '.join(found) or 'none'}, the layout {', '.join(expected)}."
            )
    return problems


def _row_problems(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / ROWS_FILE, framework="numpy") as weights:
        held = {name: weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
        about = weights.metadata()
    problems = [] if held == {ROWS: "F16"} else [f"{ROWS_FILE} holds {held}, the layout {ROWS} in F16 alone."]
    if about != {"format": "pt"}:
        problems.append(f"{ROWS_FILE} has metadata {about!r}, not {{'format': 'pt'}}.")
    return problems


def static_pipeline(folder: Path) -> Any:
    """The whole model as a module of torch, for the ONNX export.

    `input_ids` and `attention_mask` in, the rows of all tokens and unit vectors out. Texts are padded on
    either side with any id, as graphs take them; a text has at least one token.
    """
    import torch
    from torch import Tensor, nn

    class Pipeline(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
                torch.from_numpy(read_static_files(folder).rows)
            )

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
            found = self.rows(input_ids)
            weights = attention_mask.unsqueeze(-1).to(found.dtype)
            mean = (found * weights).sum(1) / weights.sum(1)
            return found, nn.functional.normalize(mean, dim=1)

    return Pipeline().eval()


def is_static_list(names: Sequence[str]) -> bool:
    """Whether modules of these classes, in order, are those of a static model."""
    return tuple(names) == STATIC_PLAIN
