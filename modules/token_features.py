"""Two ways to lay the token ids of several texts out for a model: in rows of one length, or in one row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ids = Sequence[int] | npt.NDArray[Any]


def padded(texts: Sequence[Ids], pad_id: int = 0) -> dict[str, Any]:
    """`input_ids` and `attention_mask`, int64, `(texts, longest)`, filled up on the right with `pad_id`."""
    lengths = np.array([len(text) for text in texts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    filled = np.full(mask.shape, pad_id, dtype=np.int64)
    filled[mask] = np.concatenate(texts)
    return {
        "input_ids": torch.from_numpy(filled),
        "attention_mask": torch.from_numpy(mask).long(),
        "modality": "text",
    }


def packed(texts: Sequence[Ids], offset: int = 0) -> dict[str, Any]:
    """All texts in one row: what transformers' DataCollatorWithFlattening makes, without its Python lists.

    Arguments: `offset`, the position of a text's first token.

    Returns `input_ids`, `position_ids` and `seq_idx`, which text a token is of, `(1, all tokens)`; where
    texts begin and end, `cu_seq_lens_q` and `_k (texts + 1,)`; `max_length_q` and `_k`.
    """
    lengths = np.array([len(text) for text in texts])
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    positions = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths) + offset
    bounds = torch.from_numpy(ends)
    return {
        "input_ids": _one_row(np.concatenate(texts).astype(np.int64)),
        "position_ids": _one_row(positions.astype(np.int64)),
        "seq_idx": _one_row(np.repeat(np.arange(len(texts), dtype=np.int32), lengths)),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": int(lengths.max()),
        "max_length_k": int(lengths.max()),
        "modality": "text",
    }


def _one_row(values: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(values)[None]
