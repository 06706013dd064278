"""Token ids of prefixed texts, each tokenised once: later steps, epochs and runs read them from the disk.

One SQLite file per tokenizer and limit. Dataloader workers, ranks and other runs may use a file at the same
time: writes are transactions, a reader sees whole ones only, and a connection is closed after each batch, so
that a forked worker inherits none. A row has a checksum of its key and ids: what a failing disk or a power
cut has changed is tokenised again.
"""

import copy
import hashlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from codequarry.common.files import cache_folder, text_sha256
from codequarry.modules.instruction_prefix import InstructionPrefix
from codequarry.modules.static_embedding import PromptedStaticEmbedding

Ids = npt.NDArray[np.uint32]

_WAIT = 60.0  # seconds for another process to finish writing; a write takes milliseconds
_FORMAT = 1  # raise it when what is stored changes
_KEYS_A_QUERY = 30_000  # SQLite takes 32,766 values in one statement
_CHECKSUM = 4  # bytes

logger = logging.getLogger(__name__)


class TokenCache:
    """What `InstructionPrefix.preprocess` makes of texts, from the disk where it has been made before.

    Arguments:
        transformer: the model's first module, whose checks apply. Its tokenizer and `max_seq_length` must
            not be changed afterwards: the file is named after them. Weights are not kept, so that the cache
            can be sent to a dataloader's worker.
        folder: where the files are kept; None for `tokens` in the environment variable CODEQUARRY_CACHE, or
            else in the user's cache folder.

    Nothing is ever removed: a million texts of 200 tokens take 1.1 GB; the folder may be deleted. With a file
    that is damaged or cannot be written there is one warning, and the texts are tokenised.

    >>> cache = TokenCache(model[0])
    >>> [len(ids) for ids in cache.token_ids(["def f(): ..."], prompt="passage: ")]
    [12]
    """

    def __init__(
        self, transformer: InstructionPrefix | PromptedStaticEmbedding, folder: Path | None = None
    ) -> None:
        self._transformer = _without_weights(transformer)
        self.path = (folder or cache_folder("tokens")).expanduser() / f"{_identity(transformer)}.sqlite"
        self._checked: set[str] = set()  # prompts that the transformer accepts
        self._usable = True

    def token_ids(self, texts: Sequence[str], prompt: str = "") -> list[Ids]:
        """The ids of each text behind `prompt`, special tokens included, without padding.

        Raises UserError as `InstructionPrefix.preprocess` does: for an empty text, a prompt that leaves no
        room, a tokenizer that is not set right.
        """
        if prompt not in self._checked:
            self._tokenise(["x"], prompt)  # its checks, also where all texts are known
            self._checked.add(prompt)
        keys = [text_sha256(f"{prompt}\0{text}") for text in texts]
        known = self._read(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            found = self._tokenise(list(missing.values()), prompt)
            new = dict(zip(missing, found, strict=True))
            self._write(new)
            known |= new
        return [known[key] for key in keys]

    def _tokenise(self, texts: list[str], prompt: str) -> list[Ids]:
        features = self._transformer.preprocess(texts, prompt=prompt or None)
        ids = features["input_ids"].numpy().astype(np.uint32)
        if "offsets" in features:  # of a static model
            return np.split(ids, features["offsets"].numpy()[1:])
        if "cu_seq_lens_q" in features:  # flash attention: the texts stand one after the other
            return np.split(ids[0], features["cu_seq_lens_q"].numpy()[1:-1])
        return [row[mask] for row, mask in zip(ids, features["attention_mask"].numpy() == 1, strict=True)]

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Ids]:
        different = list(dict.fromkeys(keys))
        rows: list[tuple[bytes, bytes]] = []

        def select(connection: sqlite3.Connection) -> None:
            for start in range(0, len(different), _KEYS_A_QUERY):
                part = different[start : start + _KEYS_A_QUERY]
                marks = ",".join("?" * len(part))
                rows.extend(connection.execute(f"SELECT key, ids FROM texts WHERE key IN ({marks})", part))

        self._connected(select)
        return {
            key: np.frombuffer(stored, dtype="<u4", count=(len(stored) - _CHECKSUM) // 4)
            for key, stored in rows
            if stored == _stored(key, stored[:-_CHECKSUM])
        }

    def _write(self, new: dict[bytes, Ids]) -> None:
        rows = [(key, _stored(key, ids.astype("<u4").tobytes())) for key, ids in new.items()]

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?)", rows)
            connection.execute("COMMIT")

        self._connected(insert)

    def _connected(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Call `work` with a connection; after the first failure, which is logged, do nothing."""
        if not self._usable:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)) as connection:
                # Checksums show what a power cut has damaged; a killed process damages nothing.
                connection.execute("PRAGMA synchronous = OFF")
                if connection.execute("PRAGMA user_version").fetchone() != (_FORMAT,):
                    # At once: two that upgrade a read lock refuse each other.
                    connection.execute("BEGIN IMMEDIATE")
                    # Not WITHOUT ROWID: a row of more than 250 tokens would take a whole page, twice.
                    connection.execute(
                        "CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, ids BLOB NOT NULL)"
                    )
                    connection.execute(f"PRAGMA user_version = {_FORMAT}")
                    connection.execute("COMMIT")
                work(connection)
        except (OSError, sqlite3.Error) as error:
            self._usable = False
            logger.warning(
                "the token cache %s cannot be used (%s): texts are tokenised at every step, which is slower. "
                "Delete the file, free some space, or set CODEQUARRY_CACHE to a folder that you can write.",
                self.path,
                error,
            )


def _stored(key: bytes, ids: bytes) -> bytes:
    return ids + zlib.crc32(key + ids).to_bytes(_CHECKSUM, "little")


def _without_weights(
    transformer: InstructionPrefix | PromptedStaticEmbedding,
) -> InstructionPrefix | PromptedStaticEmbedding:
    """The module as far as `preprocess` needs it, small enough to be sent to a worker."""
    light = copy.copy(transformer)
    light._modules = {}
    if isinstance(transformer, InstructionPrefix):
        light.__dict__["model"] = SimpleNamespace(config=transformer.model.config)
    return light


def _identity(transformer: InstructionPrefix | PromptedStaticEmbedding) -> str:
    """sha256 over everything that determines a text's ids."""
    tokenizer: Any = transformer.tokenizer
    file = json.loads(tokenizer.backend_tokenizer.to_str())
    decisive = {
        "format": _FORMAT,
        # Encoding leaves its last padding and truncation in the tokenizer.
        "tokenizer": file | {"padding": None, "truncation": None},
        "split_special_tokens": tokenizer.split_special_tokens,
        "max_seq_length": transformer.max_seq_length,
        "processing_kwargs": getattr(transformer, "processing_kwargs", {}),
        "tokenizers": tokenizers.__version__,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=repr).encode()).hexdigest()
