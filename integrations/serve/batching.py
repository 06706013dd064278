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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from codequarry.inference.encoder import Encoder, Vectors
from codequarry.integrations.serve.metrics import Metrics
from codequarry.integrations.serve.requests import Limits, RequestError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """One text's vector, and how many tokens the model read for it."""

    vector: Vectors
    tokens: int


Outcome = Embedded | RequestError
Text = tuple[str, str]  # prompt and text


_EMPTY = RequestError(
    422,
    "is empty: the model's tokenizer makes no token of it, so its vector would be the prompt's own. "
    "Leave it out.",
)


@dataclass(eq=False)
class _Job:
    """A request's texts. `taken` of them have gone into a batch; `outcomes` has those that came back."""

    texts: Sequence[Text]
    truncate: bool
    called: Callable[[int], str]
    answer: "asyncio.Future[list[Embedded]]"
    taken: int = 0
    outcomes: dict[int, Embedded] = field(default_factory=dict)


class Batcher:
    """The queue in front of the model.

    Arguments:
        encoder: the model, only ever called from one thread of the batcher's own.
        limits: `queue_texts` and `batch_texts`.
        max_tokens: that the model reads of a text; None for no limit.
        metrics: counts the batches.

    `run` is the task that empties the queue; it never ends by itself. `healthy`: whether the last batch went
    through the model; False before the first. `at_work`: whether the model's thread is in a batch.
    `waiting`: texts that are in no batch yet.
    """

    def __init__(
        self, encoder: Encoder, limits: Limits, max_tokens: int | None, metrics: Metrics | None = None
    ) -> None:
        self.healthy = False
        self.at_work = False
        self._metrics = metrics or Metrics()
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

    @property
    def waiting(self) -> int:
        """Texts that are in no batch yet."""
        return self._waiting

    async def embed(
        self,
        texts: Sequence[Text],
        *,
        truncate: bool = True,
        called: Callable[[int], str] | None = None,
    ) -> list[Embedded]:
        """The vectors of `texts`, each a prompt and a text, in their order.

        A caller that is cancelled frees its place. called: how errors call the text at an index.

        Raises RequestError: 429 when the queue has no room for them, 422 for a text without a token of its
        own, and for one that is too long with `truncate` off, 500 for a text that the model fails on.
        """
        if self._waiting + len(texts) > self._limits.queue_texts:
            raise RequestError(
                429,
                f"{self._waiting} texts wait already, {self._limits.queue_texts} may: no room for "
                f"{len(texts)} more. Try again later.",
                retry_after=max(1, math.ceil((self._waiting + self._in_model) * self._seconds_a_text)),
            )
        called = called or (lambda index: f"text {index + 1} of {len(texts)}")
        job = _Job(texts, truncate, called, asyncio.get_running_loop().create_future())
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

    def _embed(self, asked: list[tuple[Text, bool]]) -> list[Outcome]:
        """In the model's thread: an outcome for each text and whether it may be cut."""
        started, self.at_work = time.perf_counter(), True
        try:
            outcomes = self._embed_together(asked)
        except Exception:
            # One text that the model fails on must not fail the other requests in the batch.
            _log.exception("a batch of %d texts failed; each is tried alone", len(asked))
            outcomes = [self._embed_alone(one) for one in asked]
        finally:
            self.at_work = False
        tokens = [outcome.tokens for outcome in outcomes if isinstance(outcome, Embedded)]
        self._metrics.embedded(len(asked), sum(tokens), time.perf_counter() - started)
        embedded = bool(tokens)
        failed = any(isinstance(outcome, RequestError) and outcome.status >= 500 for outcome in outcomes)
        self.healthy = embedded or (self.healthy and not failed)
        return outcomes

    def _embed_together(self, asked: list[tuple[Text, bool]]) -> list[Outcome]:
        empty = self._empty([text for text, _ in asked])
        whole = ["".join(text) for text, _ in asked]
        tokens = self._encoder.count_tokens(whole)
        fits = [
            index not in empty and (truncate or count <= self._max_tokens)
            for index, ((_, truncate), count) in enumerate(zip(asked, tokens, strict=True))
        ]
        texts = [text for text, fit in zip(whole, fits, strict=True) if fit]
        vectors: Iterator[Vectors] = iter(self._encoder.encode(texts) if texts else [])
        return [
            _EMPTY if index in empty else self._outcome(next(vectors) if fit else None, count)
            for index, (fit, count) in enumerate(zip(fits, tokens, strict=True))
        ]

    def _empty(self, texts: Sequence[Text]) -> set[int]:
        """The indices of texts that give the model no token behind their prompt."""
        by_prompt: dict[str, list[int]] = {}
        for index, (prompt, _) in enumerate(texts):
            by_prompt.setdefault(prompt, []).append(index)
        return {
            indices[place]
            for prompt, indices in by_prompt.items()
            for place in self._encoder.empty_texts([texts[index][1] for index in indices], prompt)
        }

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

    def _embed_alone(self, one: tuple[Text, bool]) -> Outcome:
        try:
            return self._embed_together([one])[0]
        except Exception as error:
            return RequestError(500, f"could not be embedded: the model raised {type(error).__name__}.")


def _deliver(job: _Job, index: int, outcome: Outcome) -> None:
    if job.answer.done():
        return
    if isinstance(outcome, RequestError):
        sentence = f"{job.called(index)} {outcome.sentence}"
        job.answer.set_exception(RequestError(outcome.status, sentence, field=outcome.field))
        return
    job.outcomes[index] = outcome
    if len(job.outcomes) == len(job.texts):
        job.answer.set_result([job.outcomes[position] for position in range(len(job.texts))])
