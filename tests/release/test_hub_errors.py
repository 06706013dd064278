"""What the Hub client raises becomes a sentence without tokens and signed addresses."""

import io
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub.errors import HfHubHTTPError

from codequarry.release import hub_errors as room
from codequarry.release.hub_errors import hub_sentences, log_without_secrets, without_secrets


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("PUT https://host/file?X-Signature=abc&x=1 failed", "PUT https://host/file failed"),
        ("at 'https://me:hf_abc@host/x'", "at 'https://host/x'"),
        ("Bearer hf_AbCdEf123 was sent", "Bearer (token) was sent"),
        ("{'Authorization': 'Bearer another-form'}", "{'Authorization': 'Bearer (token)'}"),
        ("org/hf_name? No.", "org/(token)? No."),
        ("is it there? nothing else", "is it there? nothing else"),
    ],
)
def test_tokens_and_what_opens_an_address_are_cut(text, cut):
    assert without_secrets(text) == cut


def test_a_hub_that_is_not_there_is_a_sentence(monkeypatch):
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with (
        pytest.raises(ValueError, match=r"Reading org/name did not end.*same command again") as caught,
        hub_sentences("reading org/name", "org/name"),
    ):
        HfApi(endpoint="http://127.0.0.1:9").list_repo_refs("org/name")
    assert caught.value.__cause__ is None


def test_offline_mode_is_named():
    from huggingface_hub import HfApi

    with (
        pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"),
        hub_sentences("reading org/name", "org/name"),
    ):
        HfApi(endpoint="http://127.0.0.1:9").list_repo_refs("org/name")


@pytest.mark.parametrize("error", [ValueError("ours"), RuntimeError("a mistake"), KeyError("x")])
def test_what_does_not_come_from_the_hub_passes_unchanged(error):
    with pytest.raises(type(error)) as caught, hub_sentences("reading", "org/name"):
        raise error
    assert caught.value is error


def test_a_cause_further_down_is_found():
    transport = HfHubHTTPError.__bases__[0]

    def upload():
        try:
            try:
                raise OSError("socket")
            except OSError as error:
                raise transport("broken") from error
        except transport as error:
            raise RuntimeError("Error while uploading") from error

    with (
        pytest.raises(ValueError, match=r"Sending did not end: broken\."),
        hub_sentences("sending", "org/name"),
    ):
        upload()


def test_what_the_client_logs_is_cut_and_only_meanwhile():
    log = io.StringIO()
    handler, logger = logging.StreamHandler(log), logging.getLogger("huggingface_hub.utils._http")
    logging.getLogger("huggingface_hub").addHandler(handler)
    try:
        with log_without_secrets():
            logger.warning("thrown while requesting %s %s", "PUT", "https://host/x?signature=inside")
        logger.warning("https://host/x?signature=outside")
    finally:
        logging.getLogger("huggingface_hub").removeHandler(handler)
    assert "requesting PUT https://host/x\n" in log.getvalue()
    assert "inside" not in log.getvalue()
    assert "outside" in log.getvalue()


class Echo(BaseHTTPRequestHandler):
    """A server that fails and shows what it was sent, in every place that the client looks at."""

    def do_GET(self):
        sent = f"cannot read {self.headers['Authorization'].removeprefix('Bearer ')} at {self.path}"
        self.send_response(500)
        self.send_header("X-Error-Message", sent)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent.encode())

    def log_message(self, *_):
        pass


class Silent(Echo):
    """A server that takes a request and says nothing for as long as a test lasts."""

    def do_GET(self):
        self.server.over.wait(60)


@pytest.fixture
def serve(monkeypatch):
    """Serve with a handler at this machine, and return the address."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    servers = []

    def start(handler):
        servers.append(HTTPServer(("127.0.0.1", 0), handler))
        servers[0].over = threading.Event()
        threading.Thread(target=servers[0].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[0].server_address[1]}"

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("token", ["hf_0123456789abcdef", "of-another-form/0123456789abcdef"])
def test_a_server_that_echoes_the_token_does_not_get_it_shown(serve, monkeypatch, token):
    from huggingface_hub import HfApi

    monkeypatch.setenv("HF_TOKEN", token)
    address = serve(Echo)
    with (
        pytest.raises(ValueError, match=r"refused by the Hub \(500: cannot read \(token\) at /api") as caught,
        hub_sentences("reading org/name", "org/name"),
    ):
        HfApi(endpoint=address).list_repo_refs("org/name")
    assert "0123456789abcdef" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_hub_that_says_nothing_is_given_up(serve, monkeypatch):
    from huggingface_hub import HfApi

    monkeypatch.setattr(room, "LONGEST_SILENCE", 0.2)
    started = time.monotonic()
    with (
        pytest.raises(ValueError, match=r"Reading org/name did not end: .*same command again"),
        hub_sentences("reading org/name", "org/name"),
    ):
        HfApi(endpoint=serve(Silent)).model_info("org/name")
    assert time.monotonic() - started < 30
