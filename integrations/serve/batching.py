"""Texts of many requests share the model's forward passes, from a queue of limited length.

While a batch is in the model's thread, requests gather; when it returns, the next batch takes one text of
each waiting request in turn until it is full. So a batch waits for no timer, a request of one text does not
wait for one of a thousand, and the saving grows with the load.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from codequarry.inference.encoder import Encoder, Vectors
from codequarry.integrations.serve.requests import Limits, RequestError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """One text's vector, and how many tokens the model read for it."""

    vector: Vectors
    tokens: int


Outcome = Embedded | RequestError


@dataclass(eq=False)
class _Job:
    """A request's texts. `taken` of them have gone into a batch; `outcomes` has those that came back."""

    texts: Sequence[str]
    truncate: bool
    answer: "asyncio.Future[list[Embedded]]"
    taken: int = 0
    outcomes: dict[int, Embedded] = field(default_factory=dict)


class Batcher:
    """The queue in front of the model.

    Arguments:
        encoder: the model, only ever called from one thread of the batcher's own.
        limits: `queue_texts` and `batch_texts`.
        max_tokens: that the model reads of a text; None for no limit.

    `run` is the task that empties the queue; it never ends by itself. `healthy`: whether the last batch went
    through the model; False before the first.
    """

    def __init__(self, encoder: Encoder, limits: Limits, max_tokens: int | None) -> None:
        self.healthy = False
        self._encoder = encoder
        self._limits = limits
        self._max_tokens = max_tokens or math.inf
        self._jobs: deque[_Job] = deque()  # with texts that are in no batch yet
        self._open: set[_Job] = set()  # not answered yet
        self._waiting = 0  # texts of `_jobs` that are in no batch yet
        self._in_model = 0
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._seconds_a_text = 0.0

    async def embed(self, texts: Sequence[str], *, truncate: bool = True) -> list[Embedded]:
        """The vectors of `texts`, in their order; a caller that is cancelled frees its place.

        Raises RequestError: 429 when the queue has no room for them, 422 for a text that is too long with
        `truncate` off, 500 for a text that the model fails on.
        """
        if self._waiting + len(texts) > self._limits.queue_texts:
            raise RequestError(
                429,
                f"{self._waiting} texts wait already, {self._limits.queue_texts} may: no room for "
                f"{len(texts)} more. Try again later.",
                retry_after=max(1, math.ceil((self._waiting + self._in_model) * self._seconds_a_text)),
            )
        job = _Job(texts, truncate, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._open.add(job)
        self._waiting += len(texts)
        self._wake.set()
        try:
            return await job.answer
        finally:
            # Refused early, or left by its client: its remaining texts are not embedded.
            self._waiting -= len(texts) - job.taken
            job.taken = len(texts)
            self._open.discard(job)

    async def run(self) -> None:
        """Embed what waits, batch after batch, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            batch = self._take()
            if not batch:
                self._wake.clear()
                continue
            self._in_model = len(batch)
            started = time.perf_counter()
            outcomes = await loop.run_in_executor(
                self._thread, self._embed, [(job.texts[index], job.truncate) for job, index in batch]
            )
            lately = (time.perf_counter() - started) / len(batch)
            self._seconds_a_text = (self._seconds_a_text + lately) / 2 if self._seconds_a_text else lately
            self._in_model = 0
            for (job, index), outcome in zip(batch, outcomes, strict=True):
                _deliver(job, index, outcome)

    def refuse_open(self, refusal: RequestError) -> None:
        """Answer every request that has no answer yet with `refusal`, also those that are in the model."""
        for job in self._open:
            if not job.answer.done():
                job.answer.set_exception(refusal)

    def close(self) -> None:
        """End the model's thread once it has finished its batch."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> list[tuple[_Job, int]]:
        batch: list[tuple[_Job, int]] = []
        while self._jobs and len(batch) < self._limits.batch_texts:
            job = self._jobs.popleft()
            if job.answer.done() or job.taken == len(job.texts):
                continue
            batch.append((job, job.taken))
            job.taken += 1
            self._waiting -= 1
            if job.taken < len(job.texts):
                self._jobs.append(job)
        return batch

    def _embed(self, asked: list[tuple[str, bool]]) -> list[Outcome]:
        """In the model's thread: an outcome for each text and whether it may be cut."""
        try:
            outcomes = self._embed_together(asked)
        except Exception:
            # One text that the model fails on must not fail the other requests in the batch.
            _log.exception("a batch of %d texts failed; each is tried alone", len(asked))
            outcomes = [self._embed_alone(one) for one in asked]
        embedded = any(isinstance(outcome, Embedded) for outcome in outcomes)
        failed = any(isinstance(outcome, RequestError) and outcome.status >= 500 for outcome in outcomes)
        self.healthy = embedded or (self.healthy and not failed)
        return outcomes

    def _embed_together(self, asked: list[tuple[str, bool]]) -> list[Outcome]:
        tokens = self._encoder.count_tokens([text for text, _ in asked])
        fits = [
            truncate or count <= self._max_tokens for (_, truncate), count in zip(asked, tokens, strict=True)
        ]
        texts = [text for (text, _), fit in zip(asked, fits, strict=True) if fit]
        vectors: Iterator[Vectors] = iter(self._encoder.encode(texts) if texts else [])
        return [
            self._outcome(next(vectors) if fit else None, count)
            for fit, count in zip(fits, tokens, strict=True)
        ]

    def _outcome(self, vector: Vectors | None, tokens: int) -> Outcome:
        if vector is None:
            return RequestError(
                422,
                f"has {tokens} tokens with its prompt; this model reads {self._max_tokens}. "
                "Shorten it, or let it be cut with truncate: true.",
                field="truncate",
            )
        if not np.isfinite(vector).all():
            return RequestError(500, "got a vector that is not made of numbers: the model failed on it.")
        return Embedded(vector, int(min(tokens, self._max_tokens)))

    def _embed_alone(self, one: tuple[str, bool]) -> Outcome:
        try:
            return self._embed_together([one])[0]
        except Exception as error:
            return RequestError(500, f"could not be embedded: the model raised {type(error).__name__}.")


def _deliver(job: _Job, index: int, outcome: Outcome) -> None:
    if job.answer.done():
        return
    if isinstance(outcome, RequestError):
        sentence = f"text {index + 1} of {len(job.texts)} {outcome.sentence}"
        job.answer.set_exception(RequestError(outcome.status, sentence, field=outcome.field))
        return
    job.outcomes[index] = outcome
    if len(job.outcomes) == len(job.texts):
        job.answer.set_result([job.outcomes[position] for position in range(len(job.texts))])
