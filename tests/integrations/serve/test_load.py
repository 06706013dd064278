"""What the server does while the model is at work, the queue is full, clients leave, or it is stopping."""

import asyncio

from codequarry.integrations.serve.app import Service
from codequarry.integrations.serve.requests import Limits
from codequarry.modules.tasks import CODE

EMBED = {"inputs": ["a b"], "prompt_name": "qa_query"}
SMALL = Limits(body_bytes=2000, texts=3, characters=50, body_seconds=0.2)


def test_health_is_503_before_the_first_batch_and_while_stopping(asking, encoder):
    encoder.gate.clear()

    async def test(client, service):
        before = await client.get("/health")
        encoder.gate.set()
        while (await client.get("/health")).status_code != 200:
            await asyncio.sleep(0.001)
        service.stop()
        return before, await client.get("/health"), await client.post("/embed", json=EMBED)

    before, stopping, refused = asking(test)
    assert (before.status_code, stopping.status_code, refused.status_code) == (503, 503, 503)
    assert refused.json()["error_type"] == "Unhealthy"


def test_health_answers_while_the_model_is_at_work(asking, encoder):
    async def test(client, _):
        encoder.gate.clear()
        encoder.at_work.clear()
        waiting = asyncio.create_task(client.post("/embed", json=EMBED))
        await asyncio.to_thread(encoder.at_work.wait)
        health = await client.get("/health")  # would never come if the model held the event loop
        assert not waiting.done()
        encoder.gate.set()
        return health, await waiting

    health, answer = asking(test)
    assert (health.status_code, answer.status_code) == (200, 200)


def test_a_request_that_waits_when_the_server_stops_is_finished(asking, encoder):
    async def test(client, service):
        encoder.gate.clear()
        waiting = [asyncio.create_task(client.post("/embed", json=EMBED)) for _ in range(3)]
        await asyncio.to_thread(encoder.at_work.wait)
        service.stop()
        encoder.gate.set()
        return [await one for one in waiting]

    assert [answer.status_code for answer in asking(test)] == [200, 200, 200]


def test_a_request_still_waiting_at_the_end_of_the_limit_is_told_so(asking, encoder):
    async def test(client, service):
        encoder.gate.clear()
        encoder.at_work.clear()
        waiting = asyncio.create_task(client.post("/embed", json=EMBED))
        await asyncio.to_thread(encoder.at_work.wait)
        service.stop()
        answer = await waiting
        encoder.gate.set()
        return answer

    answer = asking(test, limits=Limits(finish_seconds=0.05))
    assert answer.status_code == 503
    assert "stopped before it came to this request" in answer.json()["error"]


def test_a_full_queue_answers_429_with_the_seconds_to_wait(asking, encoder):
    async def test(client, _):
        encoder.gate.clear()
        encoder.at_work.clear()
        first = asyncio.create_task(client.post("/embed", json=EMBED))
        await asyncio.to_thread(encoder.at_work.wait)
        second = asyncio.create_task(client.post("/embed", json=EMBED | {"inputs": ["a", "b"]}))
        refused = []
        while not refused or refused[-1].status_code != 429:  # `second` may not be in the queue yet
            refused.append(await asyncio.wait_for(client.post("/embed", json=EMBED), 10))
        encoder.gate.set()
        return refused[-1], await first, await second

    refused, first, second = asking(test, limits=Limits(texts=2, queue_texts=2, batch_texts=2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json() == {
        "error": "2 texts wait already, 2 may: no room for 1 more. Try again later.",
        "error_type": "Overloaded",
    }


def test_too_many_requests_at_a_time_are_refused_before_their_bodies_are_read(asking, encoder):
    async def test(client, _):
        encoder.gate.clear()
        encoder.at_work.clear()
        first = asyncio.create_task(client.post("/embed", json=EMBED))
        await asyncio.to_thread(encoder.at_work.wait)
        second = await client.post("/embed", content=b"not even JSON")
        encoder.gate.set()
        return second, await first

    second, first = asking(test, limits=Limits(requests=1))
    assert (second.status_code, first.status_code) == (429, 200)
    assert second.headers["connection"] == "close"


def test_a_body_that_trickles_in_is_given_up_and_holds_nobody_up(asking):
    async def test(client, _):
        async def trickle():
            while True:
                yield b" "
                await asyncio.sleep(0.01)

        slow = asyncio.create_task(client.post("/embed", content=trickle()))
        await asyncio.sleep(0.05)
        assert (await client.post("/embed", json=EMBED)).status_code == 200
        assert not slow.done()
        return await slow

    answer = asking(test, limits=SMALL)
    assert answer.status_code == 408
    assert "took more than 0.2 s to arrive" in answer.json()["error"]


def test_texts_of_a_client_that_left_are_not_embedded(encoder, served, until):
    async def whole():
        service = Service(encoder, served, limits=Limits(batch_texts=1))
        async with service.app.router.lifespan_context(service.app):
            await until(lambda: len(encoder.batches) == len(CODE.prompts()))
            encoder.gate.clear()
            left = asyncio.Event()
            sent = []
            messages = iter(
                [{"type": "http.request", "body": b'{"inputs": ["1", "2", "3"], "prompt_name": "query"}'}]
            )

            async def receive():
                for message in messages:
                    return message
                await left.wait()
                return {"type": "http.disconnect"}

            async def send(message):
                sent.append(message)

            scope = {"type": "http", "method": "POST", "path": "/embed", "query_string": b""}
            scope["headers"] = [(b"content-type", b"application/json")]
            request = asyncio.create_task(service.app(scope, receive, send))
            await until(lambda: len(encoder.batches) == len(CODE.prompts()) + 1)
            left.set()
            await request
            encoder.gate.set()
            await asyncio.sleep(0.05)
            return sent

    sent = asyncio.run(whole())
    assert sent[0]["status"] == 499
    # the text that was in the model, and none after it
    assert len(encoder.batches) == len(CODE.prompts()) + 1
