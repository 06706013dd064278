"""Texts of many requests share batches; none is lost, none waits for ever."""

import asyncio
import threading

import numpy as np
import pytest

from codequarry.integrations.serve.batching import Batcher
from codequarry.integrations.serve.requests import Limits, RequestError


class Plain(Batcher):
    """A batcher of texts without a prompt."""

    def embed(self, texts, **options):
        return super().embed([("", text) for text in texts], **options)


@pytest.fixture
def batching(encoder):
    """`batching(test, **limits)` runs the coroutine `test(batcher)` while the batcher works."""

    def run(test, **limits):
        async def whole():
            batcher = Plain(encoder, Limits(**limits), max_tokens=5)
            worker = asyncio.create_task(batcher.run())
            try:
                async with asyncio.timeout(20):
                    return await test(batcher)
            finally:
                encoder.gate.set()
                worker.cancel()
                batcher.close()

        return asyncio.run(whole())

    return run


async def started(coroutine):
    """A task that has run up to its first wait."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    return task


async def hold(batcher, encoder):
    """A request that is in the model, which does not come back until the gate is opened."""
    encoder.gate.clear()
    encoder.at_work.clear()
    task = asyncio.create_task(batcher.embed(["held"]))
    await asyncio.to_thread(encoder.at_work.wait)
    return task


def test_vectors_come_back_in_the_order_of_their_texts(batching, encoder):
    texts = [f"text {number}" for number in range(50)]

    async def test(batcher):
        return await batcher.embed(texts)

    embedded = batching(test, batch_texts=7)
    assert np.array_equal([one.vector for one in embedded], [encoder.vector(text) for text in texts])
    assert [len(batch) for batch in encoder.batches] == [7] * 7 + [1]


def test_requests_that_gather_while_the_model_works_share_a_batch(batching, encoder):
    async def test(batcher):
        held = await hold(batcher, encoder)
        others = [await started(batcher.embed([text])) for text in "abc"]
        encoder.gate.set()
        return await asyncio.gather(held, *others)

    batching(test)
    assert encoder.batches == [["held"], ["a", "b", "c"]]


def test_a_short_request_is_not_held_up_by_a_long_one_before_it(batching, encoder):
    async def test(batcher):
        held = await hold(batcher, encoder)
        long = await started(batcher.embed([f"long {number}" for number in range(100)]))
        short = await started(batcher.embed(["short"]))
        encoder.gate.set()
        await short
        assert not long.done()
        await asyncio.gather(held, long)

    batching(test, batch_texts=4)
    assert "short" in encoder.batches[1]


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(batching, encoder):
    async def test(batcher):
        held = await hold(batcher, encoder)
        waiting = await started(batcher.embed(["a", "b"]))
        with pytest.raises(RequestError, match="2 texts wait already, 3 may: no room for 2 more") as refused:
            await batcher.embed(["c", "d"])
        third = await started(batcher.embed(["e"]))
        encoder.gate.set()
        await asyncio.gather(held, waiting, third)
        await batcher.embed(["c", "d"])
        return refused.value

    refused = batching(test, texts=3, queue_texts=3)
    assert (refused.status, refused.headers) == (429, {"Retry-After": "1"})


def test_a_request_that_is_cancelled_frees_its_place(batching, encoder):
    async def test(batcher):
        held = await hold(batcher, encoder)
        given_up = await started(batcher.embed(["a", "b"]))
        given_up.cancel()
        await asyncio.sleep(0)
        other = await started(batcher.embed(["c", "d"]))
        encoder.gate.set()
        await asyncio.gather(held, other)

    batching(test, texts=2, queue_texts=2)
    assert encoder.batches == [["held"], ["c", "d"]]


def test_a_text_the_model_fails_on_fails_its_own_request_only(batching, encoder, caplog):
    async def test(batcher):
        held = await hold(batcher, encoder)
        good = await started(batcher.embed(["good"]))
        bad = await started(batcher.embed(["fine", "poison"]))
        encoder.gate.set()
        await asyncio.gather(held, good)
        with pytest.raises(RequestError, match=r"text 2 of 2 could not be embedded: .* raised RuntimeError"):
            await bad
        return batcher.healthy

    assert batching(test)


def test_a_model_that_fails_on_everything_is_not_healthy_until_it_works_again(batching, caplog):
    async def test(batcher):
        seen = [batcher.healthy]
        for text in ("good", "poison", "good"):
            await asyncio.gather(batcher.embed([text]), return_exceptions=True)
            seen.append(batcher.healthy)
        return seen

    assert batching(test) == [False, True, False, True]


def test_a_long_text_is_cut_or_refused_as_its_request_says(batching, encoder):
    long = "one two three four five six"

    async def test(batcher):
        with pytest.raises(
            RequestError, match="text 2 of 2 has 6 tokens with its prompt; this model reads 5"
        ) as no:
            await batcher.embed(["short", long], truncate=False)
        return no.value, await batcher.embed(["short", long])

    refused, embedded = batching(test)
    assert refused.status == 422
    assert [one.tokens for one in embedded] == [1, 5]
    assert encoder.batches == [["short"], ["short", long]]


def test_what_waits_can_be_refused_all_at_once(batching, encoder):
    async def test(batcher):
        held = await hold(batcher, encoder)
        waiting = await started(batcher.embed(["a"]))
        batcher.refuse_open(RequestError(503, "the end"))
        for request in (held, waiting):
            with pytest.raises(RequestError, match="the end"):
                await request
        encoder.gate.set()
        await batcher.embed(["b"])

    batching(test)
    assert encoder.batches == [["held"], ["b"]]


def test_the_model_is_only_ever_called_from_one_thread_that_is_not_the_loops(batching, encoder):
    threads = set()
    encode = encoder.encode
    encoder.encode = lambda texts: threads.add(threading.get_ident()) or encode(texts)

    async def test(batcher):
        await asyncio.gather(*(batcher.embed([str(number)]) for number in range(20)))

    batching(test, batch_texts=3)
    assert len(threads) == 1
    assert threading.get_ident() not in threads
