"""Clients that keep asking a server over HTTP, and what they saw."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a client sends. texts: how many vectors the answer holds, where there is one."""

    path: str
    body: bytes
    texts: int = 0


@dataclass
class Seen:
    """What clients saw. seconds: of each answer with status 200. errors: connections that failed, by kind."""

    seconds: list[float] = field(default_factory=list)
    texts: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def summary(self, over: float) -> dict[str, Any]:
        """Rates over `over` seconds, latency in milliseconds, and the counts, as plain data."""
        return {
            "seconds": round(over, 1),
            "requests": sum(self.statuses.values()),
            "requests_per_second": round(len(self.seconds) / over, 2),
            "texts_per_second": round(self.texts / over, 2),
            "latency_ms": {f"p{part}": milliseconds(self.seconds, part) for part in (50, 95, 99)},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "errors": dict(sorted(self.errors.items())),
        }


def milliseconds(seconds: Sequence[float], part: int) -> float | None:
    """The time within which `part` per cent of the answers came, in milliseconds; None without answers."""
    if not seconds:
        return None
    return round(sorted(seconds)[math.ceil(len(seconds) * part / 100) - 1] * 1000, 1)


class Connection:
    """One connection to a server, kept open from request to request, opened anew where that closes it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(
        self, request: Request, *, method: str = "POST", pause: float = 0
    ) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer, which is read to its end.

        pause: seconds after each byte of the body; 0 sends it at once.

        Raises OSError or EOFError for a connection that breaks, and TimeoutError after two minutes.
        """
        try:
            async with asyncio.timeout(120):
                return await self._send(request, method, pause)
        except BaseException:
            self.close()
            raise

    async def _send(self, request: Request, method: str, pause: float) -> tuple[int, dict[str, str]]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        head = (
            f"{method} {request.path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(request.body)}\r\n\r\n"
        )
        writer.write(head.encode())
        answer = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        try:
            await _send_body(writer, request.body, pause, answer)
            lines = (await answer).decode("latin-1").split("\r\n")
        finally:
            answer.cancel()
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(lines[0].split()[1]), headers

    def close(self) -> None:
        """Leave; the next request opens a new connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _send_body(
    writer: asyncio.StreamWriter, body: bytes, pause: float, answer: "asyncio.Future[bytes]"
) -> None:
    if not pause:
        writer.write(body)
        await writer.drain()
        return
    for position in range(len(body)):
        if answer.done():  # refused before the end of the body: what else is sent is not read
            return
        writer.write(body[position : position + 1])
        await writer.drain()
        await asyncio.sleep(pause)


async def keep_asking(
    address: tuple[str, int],
    requests: Callable[[int], Request],
    until: float,
    *,
    method: str = "POST",
    pause: float = 0,
    rest: float = 0,
) -> Seen:
    """One client: request after request, `requests(0)` first, until the clock says `until`.

    Arguments:
        until: on `time.perf_counter`. pause: seconds after each byte of a body.
        rest: seconds between an answer and the next request; after status 429 what `Retry-After` says.
    """
    connection, seen, number = Connection(*address), Seen(), 0
    try:
        while time.perf_counter() < until:
            request = requests(number)
            number += 1
            started = time.perf_counter()
            wait = rest
            try:
                status, headers = await connection.send(request, method=method, pause=pause)
            except (OSError, EOFError, TimeoutError) as error:
                seen.errors[type(error).__name__] += 1
                wait = max(wait, 0.1)  # a server that is gone is not asked in a tight loop
            else:
                seen.statuses[status] += 1
                if status == 200:
                    seen.seconds.append(time.perf_counter() - started)
                    seen.texts += request.texts
                elif status == 429:
                    wait = float(headers.get("retry-after", 1))
            await asyncio.sleep(min(wait, max(0.0, until - time.perf_counter())))
    finally:
        connection.close()
    return seen


def together(every: Sequence[Seen]) -> Seen:
    """What several clients saw, as if it had been one."""
    whole = Seen()
    for seen in every:
        whole.seconds += seen.seconds
        whole.texts += seen.texts
        whole.statuses += seen.statuses
        whole.errors += seen.errors
    return whole
