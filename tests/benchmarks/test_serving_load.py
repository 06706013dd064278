"""The load test runs, on the real server, and its table says what the results file says."""

import argparse
import json
import os

import pytest

from codequarry.benchmarks import serving_load
from codequarry.benchmarks.serving_load import add_arguments, run, serving_notes, serving_table, start

# The real server, routes, socket and signals; in the model's place something that needs no seconds to load.
QUICK_SERVER = """
import argparse, time
import numpy as np
from codequarry.integrations.serve.app import Service
from codequarry.cli.serve import add_arguments
from codequarry.inference.encoder import Served
from codequarry.integrations.serve.requests import Limits
from codequarry.integrations.serve.server import bind, serve
from codequarry.modules.tasks import CODE

class Quick:
    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def empty_texts(self, texts, prompt=""):
        return []

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
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
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
