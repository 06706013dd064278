"""A model that is quick and can be held up, and a server around it inside the test's own process."""

import asyncio
import threading
import time
from contextlib import ExitStack, asynccontextmanager
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from codequarry.inference.encoder import Served
from codequarry.integrations.serve.app import Service
from codequarry.integrations.serve.requests import Limits
from codequarry.integrations.serve.server import Server, bind
from codequarry.modules.tasks import CODE

DIMS = (8, 4)
MAX_TOKENS = 40


class FakeEncoder:
    """A text's vector is drawn by a generator that the text seeds; its tokens are its words.

    batches: every list of texts it was given. gate: encoding waits until it is set.
    """

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.at_work = threading.Event()

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def empty_texts(self, texts, prompt=""):
        return [place for place, text in enumerate(texts) if not text.strip(" \0")]

    def encode(self, texts):
        self.batches.append(list(texts))
        self.at_work.set()
        assert self.gate.wait(20), "the test left the gate closed"
        if any("poison" in text for text in texts):
            raise RuntimeError("no")
        return np.stack([self.vector(text) for text in texts])

    @staticmethod
    def vector(text):
        numbers = np.random.default_rng(list(text.encode())).normal(size=DIMS[0])
        if "nan" in text:
            numbers[0] = np.nan
        return (numbers / np.linalg.norm(numbers)).astype(np.float32)


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def served():
    return Served(name="tiny", prompts=CODE.prompts(), dims=DIMS, max_tokens=MAX_TOKENS, dtype="float32")


@pytest.fixture
def asking(encoder, served):
    """`asking(test, **options)` runs the coroutine `test(client, service)` against a server that is ready."""

    @asynccontextmanager
    async def opened(options):
        service = Service(encoder, served, **options)
        async with service.app.router.lifespan_context(service.app):
            transport = httpx.ASGITransport(app=service.app)
            json = {"Content-Type": "application/json"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", headers=json
            ) as client:
                while encoder.gate.is_set() and (await client.get("/health")).status_code != 200:
                    await asyncio.sleep(0.001)
                yield client, service

    def run(test, **options):
        async def whole():
            async with asyncio.timeout(20), opened(options) as (client, service):
                return await test(client, service)

        return asyncio.run(whole())

    return run


@pytest.fixture
def until():
    """`await until(condition)` waits for a condition to become true, and fails after ten seconds."""

    async def wait(condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)

    return wait


@pytest.fixture
def listening(encoder, served):
    """`listening(**options)` starts a server on a socket; it has `address`, `url`, `server` and `stop`."""
    with ExitStack() as stack:

        def start(**options):
            limits = options.setdefault("limits", Limits())
            service = Service(encoder, served, **options)
            bound = bind("127.0.0.1", 0)
            host, port = bound.getsockname()
            server = Server(service, limits, "")
            thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)

            def stop():
                encoder.gate.set()
                server.should_exit = True
                thread.join(20)
                assert not thread.is_alive()

            thread.start()
            stack.callback(stop)
            url = f"http://{host}:{port}"
            while not (server.started and httpx.get(f"{url}/health").status_code in (200, 503)):
                time.sleep(0.01)
            return SimpleNamespace(
                address=(host, port), url=url, server=server, service=service, thread=thread, stop=stop
            )

        yield start
