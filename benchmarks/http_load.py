"""HTTP clients that send request after request to a server, and count the answers."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.client import parse_headers
from io import BytesIO
from typing import Any

_TIMEOUT = 120  # seconds for an answer


@dataclass(frozen=True)
class Request:
    """What a client sends. texts: how many vectors the answer holds."""

    path: str
    body: bytes
    texts: int = 0


@dataclass
class Seen:
    """The answers to some clients. seconds: of each with status 200. errors: broken connections by kind."""

    seconds: list[float] = field(default_factory=list)
    texts: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def counts(self) -> dict[str, dict[str, int]]:
        """Answers by status and errors by kind, as plain data."""
        return {
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "errors": dict(sorted(self.errors.items())),
        }

    def summary(self, over: float) -> dict[str, Any]:
        """Rates over `over` seconds, latency in milliseconds, and the counts, as plain data."""
        return {
            "seconds": round(over, 1),
            "requests": sum(self.statuses.values()),
            "requests_per_second": round(len(self.seconds) / over, 2),
            "texts_per_second": round(self.texts / over, 2),
            "latency_ms": {f"p{part}": self.percentile(part) for part in (50, 95, 99)},
            **self.counts(),
        }

    def percentile(self, part: int) -> float | None:
        """The time within which `part` per cent of the answers came, in ms; None without answers."""
        place = math.ceil(len(self.seconds) * part / 100) - 1
        return round(sorted(self.seconds)[place] * 1000, 1) if self.seconds else None


async def keep_asking(
    address: tuple[str, int],
    requests: Callable[[int], Request],
    until: float,
    seen: Seen,
    *,
    first: int = 0,
    method: str = "POST",
    pause: float = 0,
    rest: float = 0,
) -> None:
    """One client: request after request, `requests(first)` first, over one connection while that lasts.

    Arguments:
        until: on `time.perf_counter`. seen: counts the answers; clients may share it.
        pause: seconds after each byte of a body; 0 sends it at once.
        rest: seconds between an answer and the next request; after status 429 what `Retry-After` says.
    """
    streams, number = None, first
    try:
        while time.perf_counter() < until:
            request, started, wait = requests(number), time.perf_counter(), rest
            number += 1
            try:
                async with asyncio.timeout(_TIMEOUT):
                    streams = streams or await asyncio.open_connection(*address)
                    status, headers = await _exchange(*streams, request, method, pause)
                closed = headers.get("connection", "").lower() == "close"
            except (OSError, EOFError) as error:  # TimeoutError is an OSError
                seen.errors[type(error).__name__] += 1
                closed, wait = True, max(wait, 0.1)  # no tight loop on a server that has ended
            else:
                seen.statuses[status] += 1
                if status == 200:
                    seen.seconds.append(time.perf_counter() - started)
                    seen.texts += request.texts
                elif status == 429:
                    wait = float(headers.get("retry-after", 1))
            if closed and streams:
                streams[1].close()
                streams = None
            await asyncio.sleep(min(wait, max(0.0, until - time.perf_counter())))
    finally:
        if streams:
            streams[1].close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request, method: str, pause: float
) -> tuple[int, Message]:
    """Status and headers of the answer, which is read to its end."""
    body = request.body
    writer.write(
        f"{method} {request.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    answer = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
    try:
        size = 1 if pause else max(1, len(body))
        for start in range(0, len(body), size):
            if answer.done():  # refused before the end of the body: what else is sent is not read
                break
            writer.write(body[start : start + size])
            await writer.drain()
            await asyncio.sleep(pause)
        status, _, fields = (await answer).partition(b"\r\n")
    finally:
        answer.cancel()
    headers = parse_headers(BytesIO(fields))
    await reader.readexactly(int(headers.get("content-length", 0)))
    return int(status.split()[1]), headers
