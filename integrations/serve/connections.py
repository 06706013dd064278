"""Open connections: how many an address may hold, and how long each may keep the server waiting.

uvicorn limits the connections of all addresses and the time between two requests. It has no limit on the time
that a request's head takes, on that of reading an answer, and none per address; they are here, over
`H11Protocol`, whose methods were read in uvicorn 0.50 to 0.54.
"""

import asyncio
import ipaddress
import json
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from codequarry.integrations.serve.requests import Limits, RequestError

HARD = 2  # times a limit: up to it requests are answered with a refusal, beyond it connections are dropped


class Connections:
    """The open connections of a server.

    Arguments: `refusing` makes an ASGI application that answers every request with an error.
    """

    def __init__(self, limits: Limits, refusing: Callable[[RequestError], Any]) -> None:
        self.limits = limits
        self.open: Counter[str] = Counter()
        here, everywhere = limits.connections, limits.all_connections
        self._from_here = refusing(
            RequestError(
                429,
                f"this address has more than {here} connections open, the most that one may have. "
                "Close some, or use one for several requests.",
                retry_after=1,
            )
        )
        self._from_everywhere = refusing(
            RequestError(503, f"more than {everywhere} connections are open. Try again later.", retry_after=1)
        )

    def admit(self, network: str) -> Any:
        """Count a connection. The application that answers it instead of the server's own; None for that.

        Raises ConnectionRefusedError where it is to be dropped.
        """
        self.open[network] += 1
        here, everywhere = self.open[network], self.open.total()
        if here > HARD * self.limits.connections or everywhere > HARD * self.limits.all_connections:
            raise ConnectionRefusedError
        if here > self.limits.connections:
            return self._from_here
        return self._from_everywhere if everywhere > self.limits.all_connections else None

    def leave(self, network: str) -> None:
        """Count a connection less."""
        self.open[network] -= 1
        if self.open[network] <= 0:
            del self.open[network]


def network_of(address: str | None) -> str:
    """The address that connections are counted by: of IPv6 the /64 network, which one client has whole."""
    try:
        number = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(number, ipaddress.IPv4Address):
        return str(number)
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(ipaddress.ip_network((number, 64), strict=False))


def protocol_of(connections: Connections) -> type["LimitedProtocol"]:
    """The protocol class for uvicorn whose instances share `connections`."""
    return type("Protocol", (LimitedProtocol,), {"all": connections})


class LimitedProtocol(H11Protocol):
    """uvicorn's protocol with the limits of `Connections`."""

    all: Connections

    _network: str | None = None
    _head: asyncio.TimerHandle | None = None  # until what is due from the client has to be here
    _read: asyncio.TimerHandle | None = None  # until the last answer has to be read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection; drops it, or has its requests refused, beyond the limits."""
        super().connection_made(transport)
        self._network = network_of(self.client[0] if self.client else None)
        try:
            self.app = self.all.admit(self._network) or self.app
        except ConnectionRefusedError:
            transport.abort()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts the connection less and ends its timers."""
        for timer in (self._head, self._read):
            if timer is not None:
                timer.cancel()
        if self._network is not None:
            self.all.leave(self._network)
            self._network = None
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """As uvicorn's, for every piece of data; then looks what is due from the client."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """As uvicorn's, after every answer; then looks what is due from the client."""
        super().on_response_complete()
        if self._read is not None:
            self._read.cancel()
            self._read = None
        if self.transport.get_write_buffer_size() > 0:
            self._read = self.loop.call_later(self.all.limits.answer_seconds, self._unread)
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """The answer to what is no HTTP, in JSON; nothing where another answer is under way."""
        self._say(400, f"{msg} It was not HTTP 1.1 with a head of at most 16 KiB.")

    def _watch(self) -> None:
        theirs, ours = self.conn.their_state, self.conn.our_state
        # A head: the first one, or one that has begun. Between two, uvicorn's time for idle connections runs.
        # Or the rest of a body whose request is answered already.
        head = theirs is h11.IDLE and (self.cycle is None or bool(self.conn.trailing_data[0]))
        due = head or (theirs is h11.SEND_BODY and ours in (h11.DONE, h11.MUST_CLOSE))
        if not due and self._head is not None:
            self._head.cancel()
            self._head = None
        elif due and self._head is None:
            self._head = self.loop.call_later(self.all.limits.head_seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            seconds = self.all.limits.head_seconds
            self._say(408, f"the head of the request took more than {seconds:g} s to arrive.")
        else:
            self.transport.close()

    def _unread(self) -> None:
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()

    def _say(self, status: int, sentence: str) -> None:
        started = self.conn.our_state is not h11.IDLE and self.cycle.response_started
        if not started and not self.transport.is_closing():
            body = json.dumps({"error": sentence, "error_type": "Validation"}).encode()
            head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
        self.transport.close()
