"""Read the body of a request: no more than is allowed, no longer than is allowed, and only JSON."""

import asyncio
import json
from typing import Any

from starlette.requests import Request

from codequarry.integrations.serve.limits import Limits
from codequarry.integrations.serve.refused import Refused

_DISCARDED = 8  # bodies of the largest size that are read to the end, unkept, so that the refusal is heard
_DISCARDING_SECONDS = 2


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """The body of `request`, a JSON object.

    Raises Refused: 413 as soon as the announced or the received size is too large, 408 when the body takes
    too long to arrive, 400 when it is no JSON object. Raises ClientDisconnect when the client leaves.
    """
    raw = await _read(request, limits)
    try:
        body = json.loads(raw)
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8: byte {error.start} cannot be read.") from error
    except RecursionError as error:
        raise Refused(400, "the body is JSON nested too deeply to be read.") from error
    except ValueError as error:
        raise Refused(400, f"the body ({len(raw):,} bytes) is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise Refused(400, f"the body is a JSON {_name(body)}; it has to be an object.")
    return body


async def _read(request: Request, limits: Limits) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        if "expect" not in request.headers:  # a client that waits for leave to send has sent nothing
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
        raise Refused(
            408, f"the body took more than {limits.body_seconds:g} s to arrive; {len(kept):,} bytes came."
        ) from error
    if len(kept) > limits.body_bytes:
        del kept
        await _discard(request, limits)
        raise _too_large("the body is larger", limits)
    return bytes(kept)


async def _discard(request: Request, limits: Limits) -> None:
    """Take what is still being sent and drop it: a client whose sending fails never reads the answer."""
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


def _too_large(what: str, limits: Limits) -> Refused:
    return Refused(
        413,
        f"{what}; this server takes {limits.body_bytes:,} bytes a request. Send several requests.",
    )


def _name(value: Any) -> str:
    names = {list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
