"""The routes: what is answered where, and who may ask."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import codequarry
from codequarry.common.errors import UserError
from codequarry.inference.encoder import Encoder, Served, unit_vectors
from codequarry.integrations.serve.auth import shows_key
from codequarry.integrations.serve.batching import Batcher, Embedded
from codequarry.integrations.serve.body import json_object, read_within, refuse_other_types
from codequarry.integrations.serve.hosts import Hosts
from codequarry.integrations.serve.metrics import CONTENT_TYPE, Metrics
from codequarry.integrations.serve.openai_schema import OpenAIBody, openai_model, openai_models
from codequarry.integrations.serve.openapi import ROUTES, openapi, page
from codequarry.integrations.serve.requests import EmbeddingRequest, Limits, RequestContext, RequestError
from codequarry.integrations.serve.schemas import Body, read_request
from codequarry.integrations.serve.tei_schema import SimilarityBody, TEIBody
from codequarry.integrations.serve.token_ids import TokenIds

_log = logging.getLogger(__name__)
_CLIENT_LEFT = 499  # a status for the logs of proxies
_SMALL = 16_384  # bytes of a body that is understood at once; a larger one would hold up other clients
_AS_SENT = "X-Texts-As-Sent"
_FAILED = RequestError(500, "the server failed on this request; its log says why.")


def _schema(path: str, body: Mapping[str, Any] | None = None) -> type[Body]:
    if path.startswith("/v1"):
        return OpenAIBody
    pairs = path == "/" and body is not None and isinstance(body.get("inputs"), dict)
    return SimilarityBody if path == "/similarity" or pairs else TEIBody


def _refusal(path: str, error: RequestError, headers: Mapping[str, str] | None = None) -> Response:
    # Not JSONResponse, which writes UTF-8: an error may quote half a surrogate pair, and JSON can spell it.
    content = json.dumps(_schema(path).error(error))
    headers = error.headers | dict(headers or {})
    return Response(content, error.status, headers=headers, media_type="application/json")


class Service:
    """The model's server, without the socket: `app` is an ASGI application.

    Arguments:
        encoder, served: the model, and what clients may know of it.
        limits: see `Limits`.
        default_prompt: of requests that name none; None refuses them.
        key: that clients must show as `Authorization: Bearer KEY`, except where `ROUTES` says so; or None.
        hosts: names that requests may be sent to; None for every name.
        origins: of the pages that browsers let read the answers, `*` for all.
        token_ids: reads token ids in place of text; None refuses them.

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
        hosts: Hosts | None = None,
        origins: Sequence[str] = (),
        token_ids: TokenIds | None = None,
    ) -> None:
        if default_prompt is not None and default_prompt not in served.prompts:
            raise UserError(
                f"{default_prompt!r} is not a prompt of {served.name}. "
                f"The prompts are {', '.join(served.prompts)}."
            )
        self._limits = limits or Limits()
        self._context = RequestContext(served, self._limits, default_prompt, token_ids)
        self._key = key
        self._metrics = Metrics()
        self._batcher = Batcher(encoder, self._limits, served.max_tokens, self._metrics)
        self._taken = 0  # requests being read, waiting or answered
        self._stopping = False
        answers = {
            "/v1/models": self._models,
            "/v1/models/{id}": self._model,
            "/info": self._info,
            "/health": self._health,
            "/metrics": self._show_metrics,
            "/openapi.json": self._openapi,
            "/docs": self._docs,
        }
        middleware = [Middleware(_Measured, metrics=self._metrics)]
        if origins:
            middleware.append(
                Middleware(
                    CORSMiddleware,
                    allow_origins=list(origins),
                    allow_methods=("GET", "POST"),
                    allow_headers=("*",),
                    allow_private_network=True,
                    expose_headers=("Retry-After", _AS_SENT),
                )
            )
        if hosts is not None:
            middleware.append(Middleware(_OwnNames, hosts=hosts))
        self.app = Starlette(
            routes=[
                Route(route.path, self._embed, methods=["POST"])
                if route.body is not None
                else Route(route.path.replace("{id}", "{id:path}"), answers[route.path])
                for route in ROUTES
            ],
            middleware=middleware,
            lifespan=self._lifespan,
            exception_handlers={
                HTTPException: self._no_such_route,
                RequestError: self._refused,
                Exception: self._failed,
            },
        )

    @property
    def at_work(self) -> bool:
        """Whether the model's thread is in a batch, which cannot be interrupted."""
        return self._batcher.at_work

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
            await self._batcher.embed([(prompt, "def add(a, b): return a + b") for prompt in prompts])
        except RequestError as error:
            _log.error("the first batch failed: %s", error.sentence)

    async def _embed(self, request: Request) -> Response:
        path = request.url.path
        unread = {"Connection": "close"}  # until the body is read: what is left of it is not a next request
        self._taken += 1
        try:
            self._admit(request)
            raw = await read_within(request, self._limits)
            unread = {}
            understand = partial(_understand, path, raw, self._context)
            schema, wanted = understand() if len(raw) <= _SMALL else await asyncio.to_thread(understand)
            texts = [(one.prompt, one.text) for one in wanted.texts]
            work = self._batcher.embed(texts, truncate=wanted.truncate, called=wanted.called)
            embedded = await _unless_gone(request, work)
            payload = await asyncio.to_thread(_answer, schema, wanted, embedded)
            headers = {_AS_SENT: str(wanted.as_sent)} if wanted.as_sent else {}
            return Response(payload, media_type="application/json", headers=headers)
        except RequestError as error:
            return _refusal(path, error, unread)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_LEFT)
        except Exception:
            _log.exception("%s failed", path)
            return _refusal(path, _FAILED, unread)
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
        refuse_other_types(request)

    def _check_key(self, request: Request) -> None:
        if self._key is not None and not shows_key(request.headers.get("authorization"), self._key):
            raise RequestError(401, "this server asks for a key: send it as 'Authorization: Bearer KEY'.")

    async def _models(self, request: Request) -> Response:
        self._check_key(request)
        return JSONResponse(openai_models(self._context.served))

    async def _model(self, request: Request) -> Response:
        self._check_key(request)
        return JSONResponse(openai_model(request.path_params["id"], self._context.served))

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

    async def _show_metrics(self, request: Request) -> Response:
        self._check_key(request)
        gauges = {
            "codequarry_queue_texts": ("Texts that wait for the model.", self._batcher.waiting),
            "codequarry_requests_open": ("Requests being read, waiting or answered.", self._taken),
            "codequarry_healthy": ("1 after a batch that went through the model.", self._batcher.healthy),
        }
        return PlainTextResponse(self._metrics.text(gauges), headers={"Content-Type": CONTENT_TYPE})

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(openapi(key=self._key is not None))

    async def _docs(self, _: Request) -> Response:
        return HTMLResponse(page())

    async def _no_such_route(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        *others, last = (f"{route.method} {route.path}" for route in ROUTES)
        asked = f"{request.method} {request.url.path[:200]}"
        sentence = f"{asked} is not here. There are {', '.join(others)} and {last}."
        return _refusal(request.url.path, RequestError(status, sentence), getattr(error, "headers", None))

    async def _failed(self, request: Request, _: Exception) -> Response:
        return _refusal(request.url.path, _FAILED, {"Connection": "close"})

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return _refusal(request.url.path, error)


def refusing(error: RequestError) -> ASGIApp:
    """An ASGI application that answers every request with `error` and ends its connection."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await _refusal(scope["path"], error, {"Connection": "close"})(scope, receive, send)

    return app


class _OwnNames:
    """Middleware that refuses requests to a name that is not this server's."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Request(scope).headers.get("host")
            if not self._hosts.has(host):
                error = RequestError(
                    403,
                    f"this server is not called {(host or '')[:200]!r}: ask it by the address it listens on, "
                    "or start it with --allowed-host and that name.",
                )
                await _refusal(scope["path"], error, {"Connection": "close"})(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Measured:
    """Middleware that counts every answer."""

    _paths = frozenset(route.path for route in ROUTES)

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), _CLIENT_LEFT

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            path, method = scope["path"], scope["method"]
            route = "/v1/models/{id}" if path.startswith("/v1/models/") else path
            self._metrics.answered(
                method if method in ("GET", "POST", "HEAD", "OPTIONS") else "other",
                route if route in self._paths else "other",
                status,
                time.perf_counter() - started,
            )


def _understand(path: str, raw: bytes, context: RequestContext) -> tuple[type[Body], EmbeddingRequest]:
    body = json_object(raw)
    schema = _schema(path, body)
    return schema, read_request(schema, body, context)


def _answer(schema: type[Body], wanted: EmbeddingRequest, embedded: Sequence[Embedded]) -> bytes:
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
