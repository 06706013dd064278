"""What the adapters' tests share: two models, texts that lose their meaning when touched, a watched loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest


@pytest.fixture(scope="module", params=["mini", "decoder"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def ticks_while(decoder: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A function: how often an event loop comes round while it awaits an adapter over a slow `decoder`."""

    def ticks(method: str, asked: Callable[[], Awaitable[Any]]) -> int:
        """method: of the model, made to take half a second. asked: the adapter's call that ends in it."""
        quick = getattr(decoder, method)

        def slow(*args: Any, **options: Any) -> Any:
            time.sleep(0.5)
            return quick(*args, **options)

        monkeypatch.setattr(decoder, method, slow)

        async def count() -> int:
            embedding = asyncio.ensure_future(asked())
            found = 0
            while not embedding.done():
                await asyncio.sleep(0.02)
                found += 1
            await embedding
            return found

        return asyncio.run(count())

    return ticks
