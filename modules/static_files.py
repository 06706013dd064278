"""The files of a static model, read with numpy and tokenizers alone: torch need not be installed.

A folder holds `model.safetensors` with one tensor `embeddings (tokens, dimensions)`, `tokenizer.json`, and
`config.json`: the layout of model2vec, which sentence-transformers reads too.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.modules.identity import tokenizer_state

ROWS = "embeddings"  # model2vec's name of the tensor; sentence-transformers reads it, and writes _STOCK_ROWS
_STOCK_ROWS = "embedding.weight"
WEIGHTS = "model.safetensors"
TOKENS = "tokenizer.json"
CONFIG = "config.json"
STATIC = "model2vec"  # the `model_type` of a static model's config.json

_LARGEST = 1 << 31  # bytes of a file that is read; pico's take 17 MB together
_AGAIN = "Fetch or save the model again."


@dataclass(frozen=True)
class StaticFiles:
    """A static model as its folder holds it.

    rows: `(tokens, dimensions)`, float32 whatever they are stored in.
    tokenizer: without padding and without a limit of length.
    config: of `config.json`; {} where there is none.
    """

    rows: npt.NDArray[np.float32]
    tokenizer: Tokenizer
    config: dict[str, Any]


def is_static(folder: Path) -> bool:
    """Whether a folder holds a static model: by its `config.json`, which is not checked further."""
    try:
        config = read_json(folder / CONFIG)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get("model_type") == STATIC


def read_static_files(folder: Path) -> StaticFiles:
    """The rows, tokenizer and configuration of a static model's folder.

    Raises UserError for files that are missing, damaged, of two models, or in bfloat16, which numpy has not.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    for name in (WEIGHTS, TOKENS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} holds no {name}, so it is no static model. {_AGAIN}")
        if (size := (folder / name).stat().st_size) > _LARGEST:
            raise UserError(f"{folder / name} has {size:,} bytes; at most {_LARGEST:,} are read.")
    try:
        stored = load_file(folder / WEIGHTS)
        tokenizer = Tokenizer.from_file(str(folder / TOKENS))
        config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    except (OSError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise UserError(f"{folder} cannot be read ({type(error).__name__}: {error}). {_AGAIN}") from error
    except Exception as error:  # what tokenizers raises on a file that it cannot read is bare Exception
        if type(error) is not Exception:
            raise
        raise UserError(f"{folder / TOKENS} cannot be read ({error}). {_AGAIN}") from error
    rows = stored.get(ROWS, stored.get(_STOCK_ROWS))
    if rows is None or rows.ndim != 2 or rows.dtype.kind != "f":
        raise UserError(
            f"{folder / WEIGHTS} holds {', '.join(sorted(stored)) or 'nothing'}, and not {ROWS}, the rows of "
            f"a static model as numbers (tokens, dimensions). {_AGAIN}"
        )
    if len(rows) != tokenizer.get_vocab_size():
        raise UserError(
            f"{folder} has {len(rows):,} rows for {tokenizer.get_vocab_size():,} tokens: its weights and its "
            f"tokenizer are of two models. {_AGAIN}"
        )
    rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        raise UserError(f"{folder}: the weights hold NaN or infinity, in {ROWS}. {_AGAIN}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return StaticFiles(rows, tokenizer, config if isinstance(config, dict) else {})


def static_fingerprint(rows: npt.NDArray[np.float32], tokenizer: Tokenizer) -> str:
    """sha256 over what determines a static model's vectors: its rows in float32, and its tokenizer."""
    digest = hashlib.sha256(f"{rows.dtype} {rows.shape}".encode())
    digest.update(np.ascontiguousarray(rows).data)
    digest.update(json.dumps(tokenizer_state(tokenizer.to_str())).encode())
    return digest.hexdigest()
