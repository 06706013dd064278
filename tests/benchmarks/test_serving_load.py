"""The load test runs, on the real server, and its table says what the results file says."""

import argparse
import asyncio
import json
import time

import pytest

from codequarry.benchmarks import serving_load
from codequarry.benchmarks.http_load import Request, Seen, keep_asking, milliseconds, together
from codequarry.benchmarks.serving_load import add_arguments, run, serving_notes, serving_table, start

# The real server, routes, socket and signals; in the model's place something that needs no seconds to load.
QUICK_SERVER = """
import argparse, time
import numpy as np
from codequarry.integrations.serve.app import Service
from codequarry.cli.serve import add_arguments
from codequarry.inference.encoder import Served
from codequarry.integrations.serve.limits import Limits
from codequarry.integrations.serve.server import bind, serve
from codequarry.modules.tasks import CODE

class Quick:
    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def encode(self, texts):
        time.sleep(0.0005 * len(texts))
        return np.ones((len(texts), 4), np.float32)

parser = argparse.ArgumentParser()
add_arguments(parser)
given = parser.parse_args()
limits = Limits(body_bytes=given.max_body, texts=given.max_texts, queue_texts=given.queue_texts,
                requests=given.max_requests)
service = Service(Quick(), Served(given.name, CODE.prompts(), (4,), 512, "float32"), limits=limits)
serve(service, bind(given.host, given.port), name=given.name, limits=limits)
"""


def given(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_a_short_run_measures_every_part_and_the_end(tmp_path, capsys, monkeypatch):
    (tmp_path / "quick_server.py").write_text(QUICK_SERVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(serving_load, "_SERVER", "quick_server")
    out = tmp_path / "results" / "serve.json"
    run(given("--clients", "1", "--seconds", "0.5", "--out", str(out)))
    record = json.loads(out.read_text())
    assert [part["clients"] for part in record["parts"]] == [1, 1, 1, 4]
    for part in record["parts"]:
        assert set(part["statuses"]) <= {"200", "429"}
        assert part["statuses"]["200"] >= 1
        assert part["texts_per_second"] > 0
        assert part["health_failed"] == 0
        assert not part["errors"]
    (beside,) = [part["beside"] for part in record["parts"] if part["beside"]]
    assert {kind: set(counts["statuses"]) for kind, counts in beside.items()} == {
        "slow": {"200"},
        "oversize": {"413"},
        "malformed": {"400"},
    }
    assert not any(counts["errors"] for counts in beside.values())
    assert record["end"]["exit"] == 0
    assert set(record["end"]["statuses"]) <= {"200", "503"}, (
        "who waited when the server was stopped was answered"
    )
    assert record["command"].startswith("python -m codequarry.benchmarks.serving_load")
    assert record["hardware"]["processor"]
    assert serving_table(record) in capsys.readouterr().out


def test_table_and_notes_say_what_was_seen():
    part = {
        "name": "two clients",
        "requests_per_second": 12.345,
        "texts_per_second": 70.0,
        "latency_ms": {"p50": 80.4, "p95": 120.0, "p99": None},
        "statuses": {"200": 40, "429": 3, "500": 2},
        "errors": {"EOFError": 1},
        "health_p99_ms": 3.2,
        "beside": {"slow": {"statuses": {"408": 5}, "errors": {}}},
    }
    end = {"exit": 0, "seconds": 1.5, "statuses": {"200": 2}, "errors": {"ConnectionRefusedError": 1}}
    record = {"parts": [part], "end": end}
    line = "| two clients | 12.3 | 70.0 | 80 | 120 | - | 3 | 3 | 3 |"
    assert serving_table(record).splitlines()[-1] == line
    assert serving_notes(record).splitlines() == [
        "slow clients: status 408 5 times.",
        "Told to stop at work: exit code 0 after 1.5 s; clients: status 200 2 times, "
        "ConnectionRefusedError 1 times.",
    ]


def test_a_server_that_does_not_start_is_told_in_its_own_words():
    with pytest.raises(ValueError, match=r"did not start: error: a request may hold .* only 1 may wait"):
        start(["mini", "--queue-texts", "1"])


def test_no_clients_are_refused():
    with pytest.raises(ValueError, match="at least one client"):
        run(given("--clients", "0"))


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
        seen = await keep_asking(address, lambda _: ASK, time.perf_counter() + seconds, **options)
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
    assert milliseconds([float(second) for second in range(100, 0, -1)], part) == expected


def test_without_answers_there_is_no_percentile():
    assert milliseconds([], 99) is None


def test_several_clients_add_up():
    first, second = Seen(), Seen()
    for seen in (first, second):
        seen.statuses.update([200, 429])
        seen.seconds.append(0.5)
        seen.texts = 3
        seen.errors["EOFError"] += 1
    summary = together([first, second]).summary(over=2)
    assert summary == {
        "seconds": 2,
        "requests": 4,
        "requests_per_second": 1.0,
        "texts_per_second": 3.0,
        "latency_ms": {"p50": 500, "p95": 500, "p99": 500},
        "statuses": {"200": 2, "429": 2},
        "errors": {"EOFError": 2},
    }
