"""Make rows of texts into the batch of a step: token ids, ids of texts, and a teacher's vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from codequarry.common.errors import UserError
from codequarry.common.files import text_ids
from codequarry.data.mixture import column_prompts
from codequarry.modules.packing import packed, padded
from codequarry.training.distillation import TeacherVectors
from codequarry.training.token_cache import Ids, TokenCache

_DATASET_NAME = "dataset_name"  # sentence-transformers' own column


@dataclass
class PairCollator:
    """The `data_collator` of a `PairTrainer`: rows of one source in, features of every column out.

    Arguments:
        tokens: where token ids come from.
        prompts: the prefix of each column, by name of the source: as `prompts` of the training arguments.
        packed: no padding: all texts of a column in one row, one after the other, for a model whose
            attention reads where each begins (`modules/packing.py`, or flash attention). False pads on the
            right.
        pad_id: of the tokenizer; fills padded rows.
        position_offset: position of a text's first token where texts are packed, see `position_offset`.
        teacher: adds the teacher's vectors of the texts, each behind the teacher's own prompt; None: no
            teacher.

    Each column is sorted by the length of its token ids, the longest first, so that mini-batches hold texts
    of similar length and the largest one comes first: where memory is short, a step fails at its beginning.
    `place` restores the order of the rows.

    Call it with rows such as `{"query": …, "document": …, "negative_1": …, "dataset_name": …}`. The batch
    has for each column, in their order:
        `{column}_input_ids`: int64, `(batch, tokens)`; packed `(1, all tokens)`.
        `{column}_attention_mask`: int64, `(batch, tokens)`; padded only.
        `{column}_position_ids`, `{column}_seq_idx` `(1, all tokens)`, `{column}_cu_seq_lens_q` and `_k`
            `(batch + 1,)`, `{column}_max_length_q` and `_k`: packed only.
        `{column}_modality`: `"text"`.
        `{column}_place`: int64, `(batch,)`: which of the column's sorted texts is that of row i.
        `{column}_text_id`: int64, `(batch,)`, in the order of the rows: of the bare text, see `text_ids`.
        `{column}_teacher`: float32, `(batch, teacher's dim)`, in the order of the rows; with a teacher only.
    A loss takes the last three out before it calls the model.

    Raises UserError for rows of several sources, a source or column without a prompt, an empty text, and a
    text that the teacher has no vector of.
    """

    tokens: TokenCache
    prompts: Mapping[str, Mapping[str, str]]
    packed: bool
    pad_id: int
    position_offset: int = 0
    teacher: TeacherVectors | None = None
    valid_label_columns: Sequence[str] = field(default=(), init=False)  # which the trainer asks for

    def __call__(self, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """The batch of these rows."""
        names = {row[_DATASET_NAME] for row in rows}
        if len(names) != 1:
            raise UserError(f"a batch holds rows of {len(names)} sources, {sorted(names)}: pass one's.")
        name = names.pop()
        columns = [column for column in rows[0] if column != _DATASET_NAME]
        texts = {column: [row[column] for row in rows] for column in columns}
        ids = {column: self._ids(name, column, texts[column]) for column in columns}
        batch: dict[str, Any] = {_DATASET_NAME: name}
        asked = column_prompts(self.teacher.prompts, name, columns) if self.teacher is not None else {}
        for column in columns:
            order = sorted(range(len(rows)), key=lambda row: -len(ids[column][row]))
            ordered = [ids[column][row] for row in order]
            features = packed(ordered, self.position_offset) if self.packed else padded(ordered, self.pad_id)
            features["place"] = torch.tensor(order).argsort()
            features["text_id"] = torch.from_numpy(text_ids(texts[column]))
            if self.teacher is not None:
                features["teacher"] = torch.from_numpy(self.teacher.of(texts[column], asked[column]))
            batch |= {f"{column}_{key}": value for key, value in features.items()}
        return batch

    def _ids(self, name: str, column: str, texts: Sequence[str]) -> list[Ids]:
        try:
            prompt = self.prompts[name][column]
        except KeyError:
            raise UserError(
                f"no prompt is known for column {column!r} of {name!r}: pass one, or '' for none."
            ) from None
        try:
            return self.tokens.token_ids(texts, prompt)
        except UserError as error:
            raise UserError(f"column {column!r} of {name!r}: {error}") from error
