"""Bodies of requests: read within limits of size and time, and only as JSON."""

import asyncio
import json
from email.message import Message
from typing import Any

from starlette.requests import Request

from codequarry.integrations.serve.requests import Limits, RequestError
from codequarry.integrations.serve.schemas import kind_of

_DISCARDED = 8  # bodies of the largest size that are read to the end and dropped before a refusal
_DISCARDING_SECONDS = 2


def refuse_other_types(request: Request) -> None:
    """Raise RequestError, 415, unless the body is announced as JSON in UTF-8.

    Other types matter: a page of any site may make a browser send a form or plain text to a server on this
    machine without asking it first, and JSON only after it was asked (CORS).
    """
    given = request.headers.get("content-type")
    header = Message()
    header["content-type"] = given or ""
    charset = header.get_content_charset() or "utf-8"
    if given is None or header.get_content_type() != "application/json":
        shown = "no Content-Type" if given is None else f"Content-Type {given[:80]!r}"
        raise RequestError(
            415, f"the body has {shown}: send JSON with 'Content-Type: application/json' (curl: -H)."
        )
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise RequestError(415, f"the body is announced in {charset[:40]}: send JSON in UTF-8.")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RequestError(415, f"the body is compressed ({encoding[:40]!r}): send it as it is.")


def json_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises RequestError, 400, where it is none."""
    try:
        body = json.loads(raw)
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the body is not UTF-8: byte {error.start} cannot be read.") from error
    except RecursionError as error:
        raise RequestError(400, "the body is JSON nested too deeply to be read.") from error
    except ValueError as error:
        raise RequestError(400, f"the body ({len(raw):,} bytes) is not JSON: {error}.") from error
    if not isinstance(body, dict):
        kind = kind_of(body).removeprefix("a ")
        raise RequestError(400, f"the body is a JSON {kind}; it has to be an object.")
    return body


async def read_within(request: Request, limits: Limits) -> bytes:
    """The body of `request`.

    Raises RequestError: 413 as soon as the announced or the received size is too large, 408 when the body
    takes too long to arrive. Raises ClientDisconnect when the client leaves.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        if "expect" not in request.headers:  # a client that waits for permission has sent nothing
            await _discard(request, limits)
        raise _too_large(f"the body has {int(announced):,} bytes", limits)
    kept = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                kept += piece
                if len(kept) > limits.body_bytes:
                    break
    except TimeoutError as error:
        raise RequestError(
            408, f"the body took more than {limits.body_seconds:g} s to arrive; {len(kept):,} bytes came."
        ) from error
    if len(kept) > limits.body_bytes:
        del kept
        await _discard(request, limits)
        raise _too_large("the body is larger", limits)
    return bytes(kept)


async def _discard(request: Request, limits: Limits) -> None:
    """Read what is still being sent and drop it: a client whose sending fails never reads the answer."""
    left = limits.body_bytes * _DISCARDED
    try:
        async with asyncio.timeout(_DISCARDING_SECONDS):
            while left > 0:
                message = await request.receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _too_large(what: str, limits: Limits) -> RequestError:
    return RequestError(
        413, f"{what}; this server takes {limits.body_bytes:,} bytes a request. Send several requests."
    )
