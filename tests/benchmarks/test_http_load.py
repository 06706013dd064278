"""What clients of a load test count: answers, their time, and connections that break."""

import asyncio
import time

import pytest

from codequarry.benchmarks.http_load import Request, Seen, keep_asking

ASK = Request("/x", b"0123456789", texts=2)


async def loaded(answer, seconds=0.3, **options):
    """What one client saw of a server that answers each body with `answer(number, body)`; and its bodies."""
    bodies = []

    async def serve(reader, writer):
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                bodies.append(await reader.readexactly(len(ASK.body)))
                writer.write(answer(len(bodies)))
                if b"close" in answer(len(bodies)):
                    writer.close()
                    return
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()[:2]
        seen = Seen()
        await keep_asking(address, lambda _: ASK, time.perf_counter() + seconds, seen, **options)
    return seen, bodies


def ok(_):
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


def test_every_answer_is_counted_with_its_texts_and_its_time():
    seen, bodies = asyncio.run(loaded(ok))
    assert len(bodies) == seen.statuses[200] == len(seen.seconds) > 1
    assert seen.texts == 2 * len(bodies)
    assert not seen.errors
    assert all(0 < seconds < 0.3 for seconds in seen.seconds)


def test_a_429_is_counted_and_waited_out():
    busy = b"HTTP/1.1 429 No\r\nRetry-After: 0.1\r\nContent-Length: 0\r\n\r\n"
    seen, _ = asyncio.run(loaded(lambda number: busy if number <= 2 else ok(number)))
    assert seen.statuses[429] == 2
    assert seen.statuses[200] >= 1
    assert len(seen.seconds) == seen.statuses[200]


def test_a_connection_that_is_closed_is_opened_anew():
    closing = b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    seen, _ = asyncio.run(loaded(lambda number: closing if number == 1 else ok(number)))
    assert seen.statuses[413] == 1
    assert seen.statuses[200] >= 1


def test_a_connection_that_breaks_is_an_error_with_its_kind():
    seen, _ = asyncio.run(loaded(lambda _: b"HTTP/1.1 close"))
    assert set(seen.errors) == {"IncompleteReadError"}
    assert not seen.statuses


def test_a_slow_client_takes_its_time_over_the_body():
    seen, _ = asyncio.run(loaded(ok, pause=0.03))
    assert all(seconds > 0.25 for seconds in seen.seconds)
    assert seen.statuses[200] == 1


@pytest.mark.parametrize(("part", "expected"), [(50, 50_000), (95, 95_000), (99, 99_000), (100, 100_000)])
def test_a_percentile_is_the_time_that_so_many_answers_kept(part, expected):
    seen = Seen([float(second) for second in range(100, 0, -1)])
    assert seen.percentile(part) == expected


def test_without_answers_there_is_no_percentile():
    assert Seen().percentile(99) is None


def test_several_clients_add_up():
    seen = Seen()
    for _ in range(2):
        seen.statuses.update([200, 429])
        seen.seconds.append(0.5)
        seen.texts += 3
        seen.errors["EOFError"] += 1
    assert seen.summary(over=2) == {
        "seconds": 2,
        "requests": 4,
        "requests_per_second": 1.0,
        "texts_per_second": 3.0,
        "latency_ms": {"p50": 500, "p95": 500, "p99": 500},
        "statuses": {"200": 2, "429": 2},
        "errors": {"EOFError": 2},
    }


def test_clients_that_share_a_count_are_counted_together():
    async def two():
        seen, until = Seen(), time.perf_counter() + 0.1
        address = ("127.0.0.1", 1)  # nothing listens there
        await asyncio.gather(*(keep_asking(address, lambda _: ASK, until, seen) for _ in range(2)))
        return seen

    assert asyncio.run(two()).errors == {"ConnectionRefusedError": 2}
