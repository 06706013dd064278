"""A static model's vectors with numpy and tokenizers alone, for search that must not wait for torch.

    vector = unit length of the mean of rows[t] over the tokens t of prompt + text

The vectors are those of sentence-transformers' StaticEmbedding and Normalize to 1e-6.
"""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.inference.encoder import Space, Vectors, all_but, unit_vectors, with_zeros
from codequarry.modules.identity import check_dim
from codequarry.modules.static_files import CONFIG, read_static_files, static_fingerprint
from codequarry.modules.tasks import PromptFamily, Side, family_of, prompt_name
from codequarry.modules.text_checks import check_query, empty_texts, refuse_empty

_SETTINGS = "config_sentence_transformers.json"
_TOGETHER = 1024  # texts that are tokenised in one call


class StaticEncoder:
    """A static model's folder, as search encodes with it; neither torch nor transformers is imported.

    Arguments:
        folder: a model folder that `train.py` or `codequarry release build` wrote.
        dims: one of its Matryoshka dimensions; None for all.

    fingerprint: that of the same model loaded with `codequarry.load`.
    prompt_family: of its own prompts.
    matryoshka_dims: the dimensions it was trained to be truncated to, largest first.

    Raises UserError for a folder that holds no whole static model, and a dimension it was not trained for.

    >>> encoder = StaticEncoder(Path("models/pico"))
    >>> encoder.encode(["parse a date"], "nl2code", "query").shape
    (1, 256)
    """

    device = "cpu"

    def __init__(self, folder: Path, *, dims: int | None = None) -> None:
        files = read_static_files(folder)
        try:
            settings = read_json(folder / _SETTINGS)
            prompts = settings["prompts"]
            self.prompt_family: PromptFamily = family_of(prompts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{folder / _SETTINGS} holds no prompts ({type(error).__name__}): a model is asked with "
                "those that it was trained with. Fetch or save the model again."
            ) from error
        self._prompts = self.prompt_family.prompts()
        self.fingerprint = static_fingerprint(files.rows, files.tokenizer)
        size = files.rows.shape[1]
        self.matryoshka_dims = _trained_dims(files.config.get("matryoshka_dimensions", [size]), size, folder)
        if dims is not None:
            check_dim(dims, self.matryoshka_dims)
        self.truncate_dim = dims
        self.dims = dims or size
        self._rows = np.ascontiguousarray(files.rows[:, : self.dims])
        self._tokenizer = files.tokenizer
        # What `empty_texts` asks of a model: a tokenizer with transformers' interface.
        self._checked = SimpleNamespace(tokenizer=self._token_rows)

    def get_embedding_dimension(self) -> int:
        """The size of a vector."""
        return self.dims

    def encode(
        self,
        texts: Sequence[str],
        task: str,
        side: Side,
        *,
        empty: Literal["refuse", "zero"] = "refuse",
    ) -> Vectors:
        """Unit vectors `(texts, dims)` in float32, of whole texts: there is no limit of length.

        Arguments: `task` and `side` say which prompt goes in front of each text; `empty` is what becomes of a
        text that gives the model no token: see `codequarry.inference.encoder.Empty`.

        Raises UserError for an unknown task or side, half a surrogate pair, another type, and an empty text.
        """
        prompt = self._prompts[prompt_name(task, side)]
        texts = list(texts)
        silent = self.empty_texts(texts, prompt)
        if silent and empty == "refuse":
            refuse_empty(texts, silent)
        spoken = all_but(texts, silent) if silent else texts
        found = np.empty((len(spoken), self.dims), dtype=np.float32)
        for start in range(0, len(spoken), _TOGETHER):
            part = [prompt + text for text in spoken[start : start + _TOGETHER]]
            found[start : start + _TOGETHER] = self._means(self._ids(part))
        return with_zeros(unit_vectors(found), silent, self.dims)

    def encode_query(self, text: str, task: str) -> Vectors:
        """The unit vector `(dims,)` of one query. Raises as `encode` does."""
        unit: Vectors = self.encode([text], task, "query")[0]
        return unit

    def check_query(self, text: str, task: str) -> None:
        """Raise UserError for a query that `encode_query` would refuse, before anything else is done."""
        check_query(text, lambda: bool(self.empty_texts([text], self.prompt_family.prefix(task, "query"))))

    def space(self, task: str) -> Space:
        """The space in which this model puts the documents of `task`."""
        return Space(self.fingerprint, self.prompt_family.prefix(task, "document"), self.dims, "as loaded")

    def empty_texts(self, texts: Sequence[str], prompt: str = "") -> list[int]:
        """The positions of the texts that give the model no token behind `prompt`: see `text_checks`."""
        return empty_texts(self._checked, texts, prompt)

    def token_ids(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The ids of each text, without a prompt and at its full length; none for a text without tokens."""
        return [np.asarray(ids, dtype=np.int64) for ids in self._ids(list(texts))]

    def vectors_of_ids(self, ids: Sequence[NDArray[np.integer]], space: Space) -> Vectors:
        """What `encode` gives for the documents with these ids, without tokenising them; zero for no ids.

        Prompts end in a newline, so that no token spans prompt and text.
        """
        prefix = np.asarray(self._ids([space.prefix])[0], dtype=np.int64)
        vectors = np.zeros((len(ids), self.dims), dtype=np.float32)
        before = self._rows[prefix].sum(axis=0)
        for place, one in enumerate(ids):
            if len(one):
                vectors[place] = before + self._rows[one].sum(axis=0)
        return unit_vectors(vectors)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text at its full length."""
        return [len(ids) for ids in self._ids(list(texts))]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [one.ids for one in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _token_rows(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": self._ids(texts)}

    def _means(self, texts: list[list[int]]) -> Vectors:
        """The mean of the rows of each text's ids, `(texts, dims)`; each text has at least one."""
        means = np.empty((len(texts), self.dims), dtype=np.float32)
        for place, ids in enumerate(texts):
            means[place] = self._rows[ids].mean(axis=0)
        return means


def _trained_dims(found: Any, size: int, folder: Path) -> tuple[int, ...]:
    if (
        not isinstance(found, list)
        or not all(type(dim) is int and dim > 0 for dim in found)
        or found != sorted(set(found), reverse=True)
        or found[:1] != [size]
    ):
        raise UserError(
            f"{folder / CONFIG} has the dimensions {found!r}, not whole numbers that fall from {size}, "
            "the size of a vector. Fetch or save the model again."
        )
    return tuple(found)
