"""The routes: what is answered where, who may ask, and what a request is told that is not answered."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import codequarry
from codequarry.integrations.serve import openai_shape, tei_shape
from codequarry.integrations.serve.batching import Batcher, Embedded
from codequarry.integrations.serve.body import read_json
from codequarry.integrations.serve.encoder import Encoder, Served, Vectors, cut
from codequarry.integrations.serve.key import shows_key
from codequarry.integrations.serve.limits import Limits
from codequarry.integrations.serve.refused import Refused
from codequarry.integrations.serve.wanted import Rules, Wanted

_log = logging.getLogger(__name__)
_CLIENT_LEFT = 499  # nobody reads it; proxies' logs know it


@dataclass(frozen=True)
class Shape:
    """One way to ask and to be answered."""

    read: Callable[[Mapping[str, Any], Rules], Wanted]
    answer: Callable[[Wanted, Vectors, Sequence[int]], bytes]
    error: Callable[[Refused], dict[str, Any]]


OPENAI = Shape(openai_shape.read, openai_shape.answer, openai_shape.error)
TEI = Shape(tei_shape.read, tei_shape.answer, tei_shape.error)


class Service:
    """The model's server, without the socket: `app` is an ASGI application.

    Arguments:
        encoder, served: the model, and what clients may know of it.
        limits: see `Limits`.
        default_prompt: of requests that name none; None refuses them.
        key: that clients must show as `Authorization: Bearer KEY`, except at `/health`; None for none.

    Raises ValueError for a default prompt that the model does not have.

    >>> service = Service(ModelEncoder(model, batch_texts=32), served(model, "mini"))
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
            raise ValueError(
                f"{default_prompt!r} is not a prompt of {served.name}. "
                f"The prompts are {', '.join(served.prompts)}."
            )
        self._limits = limits or Limits()
        self._rules = Rules(served, self._limits, default_prompt)
        self._key = key
        self._batcher = Batcher(encoder, self._limits, served.max_tokens)
        self._taken = 0  # requests being read, waiting or answered
        self._stopping = False
        self.app = Starlette(
            routes=[
                Route("/v1/embeddings", self._openai, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/embed", self._tei, methods=["POST"]),
                Route("/health", self._health),
                Route("/info", self._info),
            ],
            lifespan=self._lifespan,
            exception_handlers={HTTPException: self._no_such_route},
        )

    def stop(self) -> None:
        """Take no new requests; those that wait are finished, or refused after `finish_seconds`."""
        self._stopping = True
        refusal = Refused(503, "the server stopped before it came to this request. Send it again.")
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
        try:
            await self._batcher.embed([prompt + "def add(a, b): return a + b" for prompt in self._prompts()])
        except Refused as refused:
            _log.error("the first batch failed: %s", refused.sentence)

    def _prompts(self) -> Sequence[str]:
        return list(self._rules.served.prompts.values())[: self._limits.texts]

    async def _openai(self, request: Request) -> Response:
        return await self._embed(request, OPENAI)

    async def _tei(self, request: Request) -> Response:
        return await self._embed(request, TEI)

    async def _embed(self, request: Request, shape: Shape) -> Response:
        unread = {"Connection": "close"}  # until the body is read: what is left of it is not a next request
        self._taken += 1
        try:
            self._admit(request)
            body = await read_json(request, self._limits)
            unread = {}
            wanted = shape.read(body, self._rules)
            prompt = self._rules.served.prompts[wanted.prompt_name]
            texts = [prompt + text for text in wanted.texts]
            embedded = await _unless_gone(request, self._batcher.embed(texts, truncate=wanted.truncate))
            payload = await asyncio.to_thread(_answer, shape, wanted, embedded)
            return Response(payload, media_type="application/json")
        except Refused as refused:
            headers = refused.headers | unread
            return JSONResponse(shape.error(refused), refused.status, headers=headers)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_LEFT)
        except Exception:
            _log.exception("%s failed", request.url.path)
            failed = Refused(500, "the server failed on this request; its log says why.")
            return JSONResponse(shape.error(failed), failed.status, headers=unread)
        finally:
            self._taken -= 1

    def _admit(self, request: Request) -> None:
        self._check_key(request)
        if self._stopping:
            raise Refused(503, "the server is stopping and takes no new requests.", retry_after=1)
        if self._taken > self._limits.requests:
            raise Refused(
                429,
                f"{self._limits.requests} requests are being worked on, the most there may be.",
                retry_after=1,
            )

    def _check_key(self, request: Request) -> None:
        if self._key is not None and not shows_key(request.headers.get("authorization"), self._key):
            raise Refused(401, "this server asks for a key: send it as 'Authorization: Bearer KEY'.")

    async def _models(self, request: Request) -> Response:
        try:
            self._check_key(request)
        except Refused as refused:
            return JSONResponse(openai_shape.error(refused), refused.status, headers=refused.headers)
        return JSONResponse(openai_shape.models(self._rules.served))

    async def _health(self, _: Request) -> Response:
        if self._stopping:
            return JSONResponse({"status": "stopping"}, 503)
        if not self._batcher.healthy:
            return JSONResponse({"status": "no batch has gone through the model"}, 503)
        return JSONResponse({"status": "ok"})

    async def _info(self, request: Request) -> Response:
        try:
            self._check_key(request)
        except Refused as refused:
            return JSONResponse(tei_shape.error(refused), refused.status, headers=refused.headers)
        served = self._rules.served
        return JSONResponse(
            {
                "model_id": served.name,
                "model_dtype": served.dtype,
                "max_input_length": served.max_tokens,
                "max_client_batch_size": self._limits.texts,
                "dimensions": list(served.dims),
                "prompts": dict(served.prompts),
                "default_prompt": self._rules.default_prompt,
                "limits": asdict(self._limits),
                "version": codequarry.__version__,
            }
        )

    async def _no_such_route(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        routes = "POST /v1/embeddings, GET /v1/models, POST /embed, GET /health and GET /info"
        refused = Refused(status, f"{request.method} {request.url.path} is not here. There are {routes}.")
        shape = OPENAI if request.url.path.startswith("/v1") else TEI
        headers = getattr(error, "headers", None)
        return JSONResponse(shape.error(refused), status, headers=headers)


def _answer(shape: Shape, wanted: Wanted, embedded: Sequence[Embedded]) -> bytes:
    # In a thread of its own: a thousand vectors take long enough to write to keep other clients waiting.
    vectors = np.stack([one.vector for one in embedded])
    return shape.answer(
        wanted, cut(vectors, wanted.dims, normalize=wanted.normalize), [one.tokens for one in embedded]
    )


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
