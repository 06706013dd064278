"""The socket: ports that cannot be had are sentences, and the server ends when it said it would."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from codequarry.integrations.serve.requests import Limits
from codequarry.integrations.serve.server import bind

EMBED = {"inputs": ["a b"], "prompt_name": "qa_query"}


def test_no_answer_waits_for_the_client_to_confirm_its_head():
    with bind("127.0.0.1", 0) as bound:
        bound.listen()
        with socket.create_connection(bound.getsockname()):
            connection, _ = bound.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("port", [-1, 65536, 99999, 10**30])
def test_a_port_out_of_range_is_a_sentence(port):
    with pytest.raises(ValueError, match=f"--port {port} is no port: pass one from 1 to 65535, or 0"):
        bind("127.0.0.1", port)


def test_a_port_in_use_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"127.0.0.1 port {port} .*Another program listens there"):
            bind("127.0.0.1", port)


def test_a_privileged_port_is_a_sentence(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(
        ValueError, match=r"port 80 .*Permission denied.*Ports below 1024 are the administrator's"
    ):
        bind("127.0.0.1", 80)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "203.0.113.7", "1.2.3.4.5", "http://x"])
def test_a_host_that_is_none_of_this_machine_is_a_sentence(host):
    with pytest.raises(ValueError, match=r"cannot be listened on .* Pass another --host"):
        bind(host, 0)


def test_two_servers_that_bind_before_they_listen_end_in_a_sentence(listening, served, encoder):
    from codequarry.integrations.serve.app import Service
    from codequarry.integrations.serve.server import Server

    first = bind("127.0.0.1", 0)
    second = bind(*first.getsockname())  # so far both may
    first.listen()
    with first, second, pytest.raises(ValueError, match="Another program listens there"):
        Server(Service(encoder, served), Limits(), "").run(sockets=[second])


STUCK = """
import sys, time
import numpy as np
from codequarry.inference.encoder import Served
from codequarry.integrations.serve.app import Service
from codequarry.integrations.serve.requests import Limits
from codequarry.integrations.serve.server import bind, serve

class Encoder:
    def count_tokens(self, texts): return [1 for _ in texts]
    def empty_texts(self, texts, prompt=""): return []
    def encode(self, texts):
        print("at work", flush=True)
        time.sleep(600)

limits = Limits(finish_seconds=0.2)
service = Service(Encoder(), Served("tiny", {"query": "q: "}, (8,), None, "float32"), limits=limits)
serve(service, bind("127.0.0.1", 0), name="tiny", limits=limits)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_process_ends_in_time_although_its_model_is_at_work(number, code):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", STUCK], text=True, **pipes) as process:
        try:
            assert process.stderr.readline().startswith("tiny answers at http://127.0.0.1:")
            assert process.stdout.readline() == "at work\n", "the warm-up is in the model"
            started = time.perf_counter()
            process.send_signal(number)
            assert process.wait(20) == code
            assert time.perf_counter() - started < 0.2 + 5 + 1
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_clients_that_hammer_a_stopping_server_get_an_answer_or_503_and_it_ends_in_time(listening, encoder):
    here = listening(limits=Limits(finish_seconds=1))
    ended, statuses = threading.Event(), []
    slow = encoder.encode

    def encode(texts):
        time.sleep(0.02)
        return slow(texts)

    encoder.encode = encode

    def hammer(_):
        with httpx.Client() as client:
            while not ended.is_set():
                try:
                    statuses.append(client.post(f"{here.url}/embed", json=EMBED).status_code)
                except httpx.HTTPError as error:
                    statuses.append(type(error).__name__)
                    if isinstance(error, httpx.ConnectError):  # nothing listens any more
                        return

    with ThreadPoolExecutor(32) as pool:
        clients = [pool.submit(hammer, number) for number in range(32)]
        while len(statuses) < 100:
            time.sleep(0.01)
        started = time.perf_counter()
        here.server.should_exit = True
        here.thread.join(20)
        took = time.perf_counter() - started
        ended.set()
        for client in clients:
            client.result()
    assert not here.thread.is_alive()
    assert took < 1 + 5 + 1
    # A connection that the server closes while idle may be found closed by a request that was under way.
    assert set(statuses) <= {200, 503, "ConnectError", "RemoteProtocolError", "ReadError", "WriteError"}
    answered = [status for status in statuses if isinstance(status, int)]
    assert len(answered) >= 100


def test_a_stuck_model_and_deaf_clients_do_not_keep_the_server_from_ending(listening, encoder, caplog):
    here = listening(limits=Limits(finish_seconds=0.5))
    encoder.gate.clear()
    encoder.at_work.clear()
    with ThreadPoolExecutor() as pool, socket.create_connection(here.address) as half:
        waiting = pool.submit(httpx.post, f"{here.url}/embed", json=EMBED, timeout=20)
        assert encoder.at_work.wait(10)
        body = json.dumps(EMBED).encode()
        half.sendall(
            b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body
        )  # a byte is missing
        started = time.perf_counter()
        here.server.should_exit = True
        here.thread.join(20)
        assert time.perf_counter() - started < 0.5 + 5 + 1
        assert waiting.result().status_code == 503
        assert here.service.at_work  # so that the process has to be ended by hand
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
