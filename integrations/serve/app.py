"""The routes: what is answered where, who may ask, and how bodies are read within limits."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import codequarry
from codequarry.common.errors import UserError
from codequarry.inference.encoder import Encoder, Served, unit_vectors
from codequarry.integrations.serve.auth import shows_key
from codequarry.integrations.serve.batching import Batcher, Embedded
from codequarry.integrations.serve.requests import EmbeddingRequest, Limits, RequestContext, RequestError
from codequarry.integrations.serve.schemas import (
    OpenAIBody,
    Schema,
    TEIBody,
    kind_of,
    openai_models,
    read_request,
)

_log = logging.getLogger(__name__)
_CLIENT_LEFT = 499  # a status for the logs of proxies
_DISCARDED = 8  # bodies of the largest size that are read to the end and dropped before a refusal
_DISCARDING_SECONDS = 2


def _schema(request: Request) -> Schema:
    return OpenAIBody if request.url.path.startswith("/v1") else TEIBody


def _refusal(request: Request, error: RequestError, headers: Mapping[str, str] | None = None) -> Response:
    content = _schema(request).error(error)
    return JSONResponse(content, error.status, headers=error.headers | dict(headers or {}))


class Service:
    """The model's server, without the socket: `app` is an ASGI application.

    Arguments:
        encoder, served: the model, and what clients may know of it.
        limits: see `Limits`.
        default_prompt: of requests that name none; None refuses them.
        key: that clients must show as `Authorization: Bearer KEY`, except at `/health`; None for none.

    Raises UserError for a default prompt that the model does not have.

    >>> service = Service(Encoder(model), served(model, "mini"))
    """

    def __init__(
        self,
        encoder: Encoder,
        served: Served,
        *,
        limits: Limits | None = None,
        default_prompt: str | None = None,
        key: str | None = None,
    ) -> None:
        if default_prompt is not None and default_prompt not in served.prompts:
            raise UserError(
                f"{default_prompt!r} is not a prompt of {served.name}. "
                f"The prompts are {', '.join(served.prompts)}."
            )
        self._limits = limits or Limits()
        self._context = RequestContext(served, self._limits, default_prompt)
        self._key = key
        self._batcher = Batcher(encoder, self._limits, served.max_tokens)
        self._taken = 0  # requests being read, waiting or answered
        self._stopping = False
        self.app = Starlette(
            routes=[
                Route("/v1/embeddings", self._embed, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/embed", self._embed, methods=["POST"]),
                Route("/health", self._health),
                Route("/info", self._info),
            ],
            lifespan=self._lifespan,
            exception_handlers={HTTPException: self._no_such_route, RequestError: self._refused},
        )

    def stop(self) -> None:
        """Take no new requests; those that wait are finished, or refused after `finish_seconds`."""
        self._stopping = True
        refusal = RequestError(503, "the server stopped before it came to this request. Send it again.")
        loop = asyncio.get_running_loop()
        loop.call_later(self._limits.finish_seconds, self._batcher.refuse_open, refusal)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._batcher.run()), asyncio.create_task(self._warm_up())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            self._batcher.close()

    async def _warm_up(self) -> None:
        prompts = list(self._context.served.prompts.values())[: self._limits.texts]
        try:
            await self._batcher.embed([prompt + "def add(a, b): return a + b" for prompt in prompts])
        except RequestError as error:
            _log.error("the first batch failed: %s", error.sentence)

    async def _embed(self, request: Request) -> Response:
        unread = {"Connection": "close"}  # until the body is read: what is left of it is not a next request
        self._taken += 1
        try:
            self._admit(request)
            body = await _read_json(request, self._limits)
            unread = {}
            schema = _schema(request)
            wanted = read_request(schema, body, self._context)
            prompt = self._context.served.prompts[wanted.prompt_name]
            texts = [prompt + text for text in wanted.texts]
            embedded = await _unless_gone(request, self._batcher.embed(texts, truncate=wanted.truncate))
            payload = await asyncio.to_thread(_answer, schema, wanted, embedded)
            return Response(payload, media_type="application/json")
        except RequestError as error:
            return _refusal(request, error, unread)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_LEFT)
        except Exception:
            _log.exception("%s failed", request.url.path)
            failed = RequestError(500, "the server failed on this request; its log says why.")
            return _refusal(request, failed, unread)
        finally:
            self._taken -= 1

    def _admit(self, request: Request) -> None:
        self._check_key(request)
        if self._stopping:
            raise RequestError(503, "the server is stopping and takes no new requests.", retry_after=1)
        if self._taken > self._limits.requests:
            raise RequestError(
                429,
                f"{self._limits.requests} requests are being worked on, the most there may be.",
                retry_after=1,
            )

    def _check_key(self, request: Request) -> None:
        if self._key is not None and not shows_key(request.headers.get("authorization"), self._key):
            raise RequestError(401, "this server asks for a key: send it as 'Authorization: Bearer KEY'.")

    async def _models(self, request: Request) -> Response:
        self._check_key(request)
        return JSONResponse(openai_models(self._context.served))

    async def _health(self, _: Request) -> Response:
        if self._stopping:
            return JSONResponse({"status": "stopping"}, 503)
        if not self._batcher.healthy:
            return JSONResponse({"status": "no batch has gone through the model"}, 503)
        return JSONResponse({"status": "ok"})

    async def _info(self, request: Request) -> Response:
        self._check_key(request)
        served = self._context.served
        return JSONResponse(
            {
                "model_id": served.name,
                "model_dtype": served.dtype,
                "max_input_length": served.max_tokens,
                "max_client_batch_size": self._limits.texts,
                "dimensions": list(served.dims),
                "prompts": dict(served.prompts),
                "default_prompt": self._context.default_prompt,
                "limits": asdict(self._limits),
                "version": codequarry.__version__,
            }
        )

    async def _no_such_route(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        routes = "POST /v1/embeddings, GET /v1/models, POST /embed, GET /health and GET /info"
        sentence = f"{request.method} {request.url.path} is not here. There are {routes}."
        return _refusal(request, RequestError(status, sentence), getattr(error, "headers", None))

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return _refusal(request, error)


def _answer(schema: Schema, wanted: EmbeddingRequest, embedded: Sequence[Embedded]) -> bytes:
    # In a thread of its own: a thousand vectors take long enough to write to keep other clients waiting.
    vectors = np.stack([one.vector for one in embedded])[:, : wanted.dims]
    vectors = unit_vectors(vectors) if wanted.normalize else vectors
    return schema.answer(wanted, vectors, [one.tokens for one in embedded])


async def _unless_gone(request: Request, work: Coroutine[Any, Any, list[Embedded]]) -> list[Embedded]:
    """The result of `work`, which is cancelled when the client leaves; then ClientDisconnect."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """The body of `request`, a JSON object.

    Raises RequestError: 413 as soon as the announced or the received size is too large, 408 when the body
    takes too long to arrive, 400 when it is no JSON object. Raises ClientDisconnect when the client leaves.
    """
    raw = await _read_within(request, limits)
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


async def _read_within(request: Request, limits: Limits) -> bytes:
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
