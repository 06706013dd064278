"""The command: what it refuses before it loads anything, and one real server from start to SIGTERM."""

import argparse
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import codequarry
from codequarry.cli.serve import _LIMITS, MORE, add_arguments, name_of, run
from codequarry.integrations.serve import connections, server, token_ids
from codequarry.integrations.serve.auth import KEY_VARIABLE
from codequarry.integrations.serve.openapi import ROUTES
from codequarry.integrations.serve.requests import Limits


def given(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture(autouse=True)
def _no_key_around(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines"),
        (["--queue-texts", "5"], "only 5 may wait"),
        (["--batch-texts", "0"], "batch_texts 0 is no limit"),
        (["--api-key-file", "/nowhere/key"], "cannot be read"),
        (["--finish-seconds", "inf"], "finish_seconds inf is no limit"),
        (["--allowed-host", "http://a"], "--allowed-host 'http://a' is no name of a machine"),
        (["--cors-origin", "localhost:3000"], "--cors-origin 'localhost:3000' is no origin"),
        (["--port", "70000"], "--port 70000 is no port"),
        (["--port", "-1"], "--port -1 is no port"),
    ],
)
def test_a_server_that_should_not_start_is_refused_before_the_model_is_loaded(words, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(given("no/such/model/at/all", *words))


def test_a_port_that_is_taken_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"127.0.0.1 port {port} cannot be listened on"):
            run(given("no/such/model/at/all", "--port", str(port)))


class _Without:
    """An import finder that knows one package not to be there."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("package", ["pydantic", "starlette", "uvicorn"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package):
    for name in list(sys.modules):
        if name.startswith((f"{package}.", "codequarry.integrations.serve.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Without(package), *sys.meta_path])
    with pytest.raises(ValueError, match=rf"{package} is not installed: pip install 'codequarry\[serve\]'"):
        run(given("no/such/model/at/all", "--port", "0"))


def test_the_options_are_known_without_the_packages_of_the_extra():
    code = "import codequarry.cli.serve, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"pydantic", "starlette", "uvicorn", "torch"} & set(loaded)


def test_a_folder_is_called_by_its_own_name(tmp_path):
    assert name_of("mini") == "mini"
    assert name_of("owner/model") == "owner/model"
    (tmp_path / "own").mkdir()
    assert name_of(str(tmp_path / "own") + "/") == "own"


PAGE = (Path(__file__).parents[2] / "docs/serving.md").read_text(encoding="utf-8")


def test_the_limits_that_the_page_names_are_those_of_the_server():
    named = re.findall(r"^\| [a-z][^|]+ \| (\d+) \| (?:`(--[a-z-]+)`)? ?\|$", PAGE, re.M)
    fields = ["texts", "characters", "body_bytes", "requests", "connections", "queue_texts", "batch_texts"]
    fields += ["head_seconds", "body_seconds", "answer_seconds", "finish_seconds"]
    assert {field.name for field in dataclasses.fields(Limits)} == set(fields)
    options = {field: option for option, field, _ in _LIMITS}
    assert named == [(str(getattr(Limits(), field)), options.get(field, "")) for field in fields]


def test_what_else_the_page_says_in_figures_is_so():
    limits = Limits()
    assert "took more than ten seconds" in PAGE
    assert limits.head_seconds == limits.body_seconds == 10
    assert "four times as many connections as `--max-requests`" in PAGE
    assert limits.all_connections == 4 * limits.requests
    assert "Beyond twice a limit of connections" in PAGE
    assert connections.HARD == 2
    assert "at the latest five seconds later" in PAGE
    assert server.LEAVING == 5
    assert "at least eight without" in PAGE
    assert token_ids.TELLING == 8


def test_the_page_and_the_help_name_every_route():
    for route in ROUTES:
        path = route.path.replace("{id}", "NAME")
        assert f"`{route.method} {path}`" in PAGE
        assert path in MORE
    options = given()
    for option in ("--allowed-host", "--cors-origin", "--max-connections", "--default-prompt"):
        assert option in PAGE
        assert hasattr(options, option[2:].replace("-", "_"))


def post(url, body, key=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=180) as answer:
        return json.load(answer)


def test_a_real_server_starts_answers_finishes_what_waits_and_ends_cleanly(tmp_path):
    (tmp_path / "key").write_text("a-key-for-this-test")
    words = ["mini", "--port", "0", "--device", "cpu", "--finish-seconds", "150"]
    words += ["--api-key-file", str(tmp_path / "key")]
    server = subprocess.Popen(
        [sys.executable, "-m", "codequarry.cli.serve", *words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        line = server.stderr.readline()
        assert line.startswith("mini answers at http://127.0.0.1:"), line
        url = line.split()[3].rstrip(";")
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(f"{url}/embed", {"inputs": "x", "prompt_name": "query"})
        assert refused.value.code == 401
        refused.value.close()

        texts = ["parse a date", "read a file line by line"]
        body = {"model": "mini:nl2code_query", "input": texts, "dimensions": 128}
        answer = post(f"{url}/v1/embeddings", body, "a-key-for-this-test")
        own = codequarry.load("mini", dims=128, device="cpu").encode_query(texts, task="nl2code")
        assert np.abs(np.array([row["embedding"] for row in answer["data"]]) - own).max() < 1e-6

        # Told to stop with a request in the queue: the request is answered first.
        many = {"inputs": ["x = 1\n" * 100] * 40, "prompt_name": "code2code_document"}
        waiting = http.client.HTTPConnection(*url.removeprefix("http://").split(":"), timeout=180)
        headers = {"Authorization": "Bearer a-key-for-this-test", "Content-Type": "application/json"}
        waiting.request("POST", "/embed", json.dumps(many), headers)
        time.sleep(0.5)
        server.send_signal(signal.SIGTERM)
        with waiting.getresponse() as found:
            assert found.status == 200
            assert len(json.load(found)) == 40
        waiting.close()
        _, rest = server.communicate(timeout=180)
        assert server.returncode == 0
        assert "Traceback" not in rest
        assert "a-key-for-this-test" not in line + rest
    finally:
        server.kill()
        server.communicate()
