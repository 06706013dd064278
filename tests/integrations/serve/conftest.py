"""A model that is quick and can be held up, and a server around it inside the test's own process."""

import asyncio
import threading
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest

from codequarry.inference.encoder import Served
from codequarry.integrations.serve.app import Service
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
            async with httpx.AsyncClient(transport=transport, base_url="http://here", headers=json) as client:
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
