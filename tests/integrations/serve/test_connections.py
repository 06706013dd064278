"""Slow, silent and too many connections end in the promised time, and hold no other client up."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from codequarry.integrations.serve.connections import network_of
from codequarry.integrations.serve.requests import Limits

EMBED = {"inputs": ["a b"], "prompt_name": "qa_query"}
QUICK = Limits(head_seconds=0.7, body_seconds=0.7)  # where the server's own are 10 s
BODY = json.dumps(EMBED).encode()


def head(path="/embed", *lines, method="POST"):
    fields = ["Host: localhost", "Content-Type: application/json", *lines]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode()


def whole(body=BODY, path="/embed"):
    return head(path, f"Content-Length: {len(body)}") + body


def connect(address, source="127.0.0.1"):
    return socket.create_connection(address, timeout=10, source_address=(source, 0))


def rest_of(connection):
    """What comes until the server closes; b"" for a reset as well."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def status_of(answer):
    return int(answer.split()[1]) if answer else None


def answer_to(connection, request):
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return received
        received += piece
    start, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in start.split(b"\r\n") if line.lower().startswith(b"content-l")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return start + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"P", 408),
        (b"POST /embed HTTP/1.1\r\nHost: localhost\r\n", 408),
        (head()[:-2], 408),
    ],
)
def test_a_head_that_does_not_come_is_given_up_in_time(listening, sent, status):
    here = listening(limits=QUICK)
    with connect(here.address) as slow:
        started = time.perf_counter()
        slow.sendall(sent)
        answer = rest_of(slow)
        assert 0.6 < time.perf_counter() - started < 8
        assert status_of(answer) == status
        if status:
            assert b"took more than 0.7 s to arrive" in answer


def test_bytes_that_trickle_in_do_not_prolong_the_time_of_a_head(listening):
    here = listening(limits=QUICK)
    with connect(here.address) as slow:
        started = time.perf_counter()
        slow.settimeout(0.05)
        answer = b""
        for byte in head() * 100:
            try:
                slow.send(bytes([byte]))
                answer += slow.recv(65536)
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert time.perf_counter() - started < 8
        assert status_of(answer) == 408


def test_a_second_head_on_the_same_connection_has_the_same_time(listening):
    here = listening(limits=QUICK)
    with connect(here.address) as client:
        assert status_of(answer_to(client, whole())) == 200
        client.sendall(head()[:20])
        started = time.perf_counter()
        assert status_of(rest_of(client)) == 408
        assert time.perf_counter() - started < 8


def test_the_rest_of_a_body_whose_request_is_answered_has_the_same_time(listening):
    here = listening(limits=QUICK)
    with connect(here.address) as client:
        started = time.perf_counter()
        assert status_of(answer_to(client, head("/health", "Content-Length: 1000000", method="GET"))) == 200
        client.settimeout(0.05)
        ended = False
        while not ended and time.perf_counter() - started < 8:
            try:
                client.send(b"x")
                ended = client.recv(100) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
        assert ended


def test_a_connection_that_is_used_in_time_goes_on(listening):
    here = listening(limits=QUICK)
    with connect(here.address) as client:
        for pause in (0, 0.2, 1):  # idle is not slow: the time begins with the head
            assert status_of(answer_to(client, whole())) == 200
            time.sleep(pause)
            assert status_of(answer_to(client, head("/health", method="GET"))) == 200


def test_a_slow_model_is_no_slow_client(listening, encoder):
    here = listening(limits=QUICK)
    encoder.gate.clear()
    with connect(here.address) as client, ThreadPoolExecutor() as pool:
        answer = pool.submit(answer_to, client, whole())
        time.sleep(1.5)
        encoder.gate.set()
        assert status_of(answer.result()) == 200


def test_an_answer_that_is_not_read_is_dropped_in_time(listening, encoder, until_true):
    here = listening(limits=Limits(answer_seconds=0.3, texts=2048, body_bytes=2**22))
    encoder.vector = lambda text: [1 / 8**0.5] * 8
    many = json.dumps({"inputs": ["a"] * 2048, "prompt_name": "query"}).encode()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(here.address)
        deaf.sendall(whole(many) * 20)  # together more than the buffers of the system hold
        until_true(lambda: here.server.server_state.total_requests > 3)
        until_true(lambda: not here.server.server_state.connections)


@pytest.fixture
def until_true():
    def wait(condition):
        end = time.perf_counter() + 15
        while not condition():
            assert time.perf_counter() < end
            time.sleep(0.01)

    return wait


def test_an_address_with_too_many_connections_is_refused_and_another_is_served(listening, until_true):
    here = listening(limits=Limits(connections=4))
    idle = [connect(here.address) for _ in range(4)]
    until_true(lambda: len(here.server.server_state.connections) == 4)
    for path, found in (("/embed", "error"), ("/v1/embeddings", "error")):
        with connect(here.address) as late:
            answer = answer_to(late, whole(path=path))
            assert status_of(answer) == 429
            assert b"retry-after: 1" in answer.lower()
            assert b"this address has more than 4 connections open" in answer
            assert found in json.loads(answer.partition(b"\r\n\r\n")[2])
    with connect(here.address, "127.0.0.2") as other:
        assert status_of(answer_to(other, whole())) == 200
    for one in idle:
        one.close()
    until_true(lambda: not here.server.server_state.connections)
    with connect(here.address) as again:
        assert status_of(answer_to(again, whole())) == 200


def test_beyond_twice_the_limit_connections_are_dropped_unheard(listening, until_true):
    here = listening(limits=Limits(connections=4))
    idle = [connect(here.address) for _ in range(40)]
    until_true(lambda: len(here.server.server_state.connections) == 8)
    time.sleep(0.1)
    assert len(here.server.server_state.connections) == 8
    with connect(here.address, "127.0.0.2") as other:
        assert status_of(answer_to(other, whole())) == 200
    for one in idle:
        one.close()


def test_too_many_connections_of_all_addresses_are_503(listening, until_true):
    here = listening(limits=Limits(connections=100, requests=2))
    idle = [connect(here.address, f"127.0.0.{number}") for number in range(3, 11)]
    until_true(lambda: len(here.server.server_state.connections) == 8)
    with connect(here.address) as late:
        answer = answer_to(late, whole())
        assert status_of(answer) == 503
        assert b"more than 8 connections are open" in answer
    for one in idle:
        one.close()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_ipv6_is_counted_by_its_network(address, network):
    assert network_of(address) == network


NO_HTTP = {
    "an empty line": b"\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    "a head that is too long": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000,
    "too many header lines": b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
    "no Host": b"GET /health HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "two lengths": head("/embed", "Content-Length: 5", "Content-Length: 6") + BODY,
    "a length that is no number": head("/embed", "Content-Length: -5") + BODY,
    "an unknown transfer encoding": head("/embed", "Transfer-Encoding: gzip, chunked") + BODY,
    "a byte that no header has": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    "a space before the colon": b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_http_gets_400_and_the_server_goes_on(listening, sent):
    here = listening()
    with connect(here.address) as client:
        with suppress(ConnectionError):  # it may be answered before its end
            client.sendall(sent)
        answer = rest_of(client)
        assert status_of(answer) in (400, None if len(sent) > 100_000 else 400)
    assert httpx.get(f"{here.url}/health").status_code == 200


CHUNKED = head("/embed", "Transfer-Encoding: chunked")
BROKEN_BODIES = {
    "a chunk size that is none": (CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size that is huge": (CHUNKED + b"f" * 40 + b"\r\nabc", 400),
    "a chunk that is longer than it says": (CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n", 400),
    "garbage after the chunks": (CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + b"\0\0", 200),
    "a body that is shorter than it says": (head("/embed", "Content-Length: 1000") + BODY, 408),
    "a body that is longer than it says": (
        head("/embed", f"Content-Length: {len(BODY)}") + BODY + b"}}",
        200,
    ),
    "a length far too large": (head("/embed", "Content-Length: 99999999999999999999"), 413),
    "trailing headers without end": (CHUNKED + b"0\r\n" + b"x: y\r\n" * 20_000, 400),
}


@pytest.mark.parametrize(("sent", "status"), BROKEN_BODIES.values(), ids=BROKEN_BODIES)
def test_a_broken_body_is_answered_or_dropped_and_the_server_goes_on(listening, sent, status, caplog):
    here = listening(limits=QUICK)
    with connect(here.address) as client:
        client.sendall(sent)
        answer = rest_of(client)
    assert status_of(answer) == status
    assert httpx.post(f"{here.url}/embed", json=EMBED).status_code == 200
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def test_requests_in_a_row_without_waiting_are_answered_in_their_order(listening):
    here = listening(limits=QUICK)
    bodies = [json.dumps({"inputs": ["x"] * count, "prompt_name": "query"}).encode() for count in (1, 2, 3)]
    with connect(here.address) as client:
        client.sendall(b"".join(map(whole, bodies)))
        parts = rest_of(client).split(b"HTTP/1.1 200 OK")[1:]
    assert [len(json.loads(part.partition(b"\r\n\r\n")[2])) for part in parts] == [1, 2, 3]


def test_a_websocket_is_not_opened(listening):
    here = listening()
    lines = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: eA==",
    ]
    with connect(here.address) as client:
        assert status_of(answer_to(client, head("/embed", *lines, method="GET"))) == 405
