"""A vector cache on disk: a text is embedded once for all dimensions, precisions, fusions and runs."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tqdm import tqdm

from codequarry.common.environment import processor
from codequarry.common.errors import UserError
from codequarry.common.files import atomic_path
from codequarry.inference.encoder import Encoder, Vectors, arithmetic_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Compute = Literal["auto", "fp32"]

_CHUNK = 512  # texts between two writes: what a kill costs at most
_CHARACTERS_A_TOKEN = 4  # only to weigh the progress bar


@dataclass(frozen=True)
class Speed:
    """Embedding of some texts, measured when they were embedded. seconds: wall time."""

    texts: int
    tokens: int
    seconds: float

    @property
    def texts_per_second(self) -> float:
        """Texts a second, 0 where nothing was embedded."""
        return self.texts / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second, prompts and special tokens included, padding not."""
        return self.tokens / self.seconds if self.seconds else 0.0


class StoredVectors:
    """The vectors of one model, on disk under a hash of all that computes them.

    Arguments:
        model: any `SentenceTransformer`.
        label: its name in messages and records.
        fingerprint: see `codequarry.modules.embedder.fingerprint`.
        folder: where vectors are kept; None keeps them in memory only.
        compute: `auto` computes in bf16 where the model is faster so (`can_use_bf16`), `fp32` never.
        progress: show a bar with the time left once embedding has taken two seconds.

    The hash covers weights, prompt, length, runtime, arithmetic and processor.

    Files hold 512 texts each and are written whole: a run that was killed resumes after the last one.
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        folder: Path | None,
        *,
        label: str,
        fingerprint: str,
        compute: Compute = "auto",
        progress: bool = True,
    ) -> None:
        self._model, self._label = model, label
        self._encoder = Encoder(model)
        self._progress = progress
        self.arithmetic = arithmetic_of(model, bf16=compute == "auto")
        runtime = getattr(model, "runtime", None)
        self.runtime = getattr(runtime, "name", "stock")
        # Runtimes differ by 1e-6 in float32, and by 1e-3 in bfloat16, where they round at other places.
        identity = f"{fingerprint} {self.arithmetic} {self.runtime} {model.device.type} {processor()}"
        if model.truncate_dim is not None:
            identity += f" {model.truncate_dim}"
        self._folder = folder / _short(identity) if folder is not None else None
        self._known: dict[str, dict[str, Vectors]] = {}
        self._speeds: list[Speed] = []  # of each chunk
        self._chunk_of: dict[tuple[str, str], int] = {}  # by prompt and text's hash
        self._asked: set[int] = set()  # chunks that hold a text of this run

    def embed(self, texts: Sequence[str], prompt: str) -> Vectors:
        """Unit vectors `(texts, dim)` behind a prompt; a text without tokens has zero, like no other."""
        known = self._of(prompt)
        names = [_digest(text) for text in texts]
        empty = {names[place] for place in self._encoder.empty_texts(texts, prompt)}
        missing = {
            name: text
            for name, text in zip(names, texts, strict=True)
            if name not in known and name not in empty
        }
        for chunk in self._chunks(missing):
            self._embed_chunk(chunk, missing, prompt)
        self._asked.update(self._chunk_of[prompt, name] for name in names if name in known)
        blank = np.zeros(self._model.get_embedding_dimension() or 0, dtype=np.float32)
        return np.stack([blank if name in empty else known[name] for name in names])

    def computed(self, texts: Sequence[str], prompt: str) -> Vectors:
        """The vectors of texts with tokens, computed now even where they are known, and not kept."""
        return self._encoder.encode(texts, prompt, normalize=True, bf16=self.arithmetic == "bf16")

    @property
    def speed(self) -> Speed:
        """How fast the texts of this run were embedded, in this one or an earlier.

        Measured in chunks: a text that an earlier run embedded together with others includes these.
        """
        found = [self._speeds[chunk] for chunk in self._asked]
        return Speed(
            sum(part.texts for part in found),
            sum(part.tokens for part in found),
            sum(part.seconds for part in found),
        )

    def record(self) -> dict[str, Any]:
        """The speed as results files spell it, with what it was measured on."""
        speed = self.speed
        return {
            "model": self._label,
            "texts": speed.texts,
            "tokens": speed.tokens,
            "seconds": round(speed.seconds, 2),
            "texts_per_second": round(speed.texts_per_second, 1),
            "tokens_per_second": round(speed.tokens_per_second),
            "processor": processor(),
            "compute": self.arithmetic,
            "runtime": self.runtime,
        }

    def _chunks(self, missing: dict[str, str]) -> Iterator[list[str]]:
        # The longest first, so that a batch holds texts of one length and the time left is never too short.
        names = sorted(missing, key=lambda name: (-len(missing[name]), name))
        limit = _CHARACTERS_A_TOKEN * (self._model.max_seq_length or 512)
        weights = {name: min(len(missing[name]), limit) for name in names}
        with tqdm(
            total=sum(weights.values()),
            desc=f"embedding {len(names):,} texts with {self._label}",
            unit=" characters",
            unit_scale=True,
            delay=2,
            disable=not self._progress,
            leave=False,
        ) as bar:
            for start in range(0, len(names), _CHUNK):
                chunk = names[start : start + _CHUNK]
                yield chunk
                bar.update(sum(weights[name] for name in chunk))

    def _embed_chunk(self, names: list[str], texts: dict[str, str], prompt: str) -> None:
        chosen = [texts[name] for name in names]
        tokens = self._count_tokens(chosen, prompt)
        started = time.perf_counter()
        vectors = self.computed(chosen, prompt)
        speed = Speed(len(names), tokens, time.perf_counter() - started)
        if not np.isfinite(vectors).all():
            raise UserError(f"{self._label} gave a vector that is not finite.")
        self._take(prompt, names, vectors, speed)
        if self._folder is not None:
            _write(self._folder / _short(prompt), names, vectors, speed)

    def _count_tokens(self, texts: list[str], prompt: str) -> int:
        features = self._model.preprocess(texts, prompt=prompt or None)
        return (
            int(features["attention_mask"].sum())
            if "attention_mask" in features
            else len(features["input_ids"])
        )

    def _of(self, prompt: str) -> dict[str, Vectors]:
        if prompt not in self._known:
            self._known[prompt] = {}
            if self._folder is not None:
                for file in sorted((self._folder / _short(prompt)).glob("*.npz")):
                    self._take(prompt, *_read(file))
        return self._known[prompt]

    def _take(self, prompt: str, names: Sequence[str], vectors: Vectors, speed: Speed) -> None:
        self._known[prompt].update(zip(names, vectors, strict=True))
        self._chunk_of.update(((prompt, name), len(self._speeds)) for name in names)
        self._speeds.append(speed)


def _write(folder: Path, names: list[str], vectors: Vectors, speed: Speed) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{_short(''.join(names))}.npz"
    with atomic_path(file) as temporary, temporary.open("wb") as opened:
        np.savez(
            opened,
            names=np.array(names),
            vectors=vectors,
            counts=np.array([speed.texts, speed.tokens]),
            seconds=np.array(speed.seconds),
        )


def _read(file: Path) -> tuple[list[str], Vectors, Speed]:
    try:
        with np.load(file) as found:
            texts, tokens = (int(count) for count in found["counts"])
            names = [str(name) for name in found["names"]]
            return names, found["vectors"], Speed(texts, tokens, float(found["seconds"]))
    except Exception as error:  # zip, header and array readers each raise their own
        raise UserError(
            f"{file} is damaged ({error}): delete it, and its texts are embedded again."
        ) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _short(text: str) -> str:
    return _digest(text)[:32]
