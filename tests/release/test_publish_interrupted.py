"""Wherever a publication is cut off, the same command ends it as if nothing had happened."""

import itertools
import threading
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi, get_session

from codequarry.release.hub import Repository
from codequarry.release.manifest import check_manifest, write_manifest
from codequarry.release.publish import publish


class Killed(BaseException):
    """What a killed process does: nothing more, and no handler sees it coming."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As small as a release gets, with a file for LFS."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# name\n")
    (folder / "training.json").write_text('{"steps": 3}')
    (folder / "model.safetensors").write_bytes(b"\0\1\2" * 1000)
    write_manifest(folder)
    return folder


def verify(folder):
    problems = tuple(check_manifest(folder))
    return SimpleNamespace(ok=not problems, problems=problems)


@pytest.fixture
def line(monkeypatch):
    """The line to the Hub: counts requests, and fails at the n-th and from then on.

    `cut(n, error, answered)`: whether the Hub still gets the n-th request, and the answer is lost.
    """
    line = SimpleNamespace(requests=[], at=0, error=None, answered=False)
    lock, send = threading.Lock(), type(get_session()).send

    def cut(at=0, error=None, answered=False):
        line.requests, line.at, line.error, line.answered = [], at, error, answered

    def through(client, request, **options):
        with lock:
            line.requests.append(request.method)
            number = len(line.requests)
        if not line.at or number < line.at:
            return send(client, request, **options)
        if number == line.at and line.answered:
            send(client, request, **options).close()
        raise line.error("cut off")

    line.cut = cut
    monkeypatch.setattr(type(get_session()), "send", through)
    return line


def state(api, repo):
    """What users see of a repository: what is at main and the tags, and which pull requests there are."""
    refs = api.list_repo_refs(repo)
    heads = {
        ref.name: Repository(api, repo, print).tree(ref.target_commit) for ref in [*refs.branches, *refs.tags]
    }
    tagged = {ref.target_commit for ref in refs.tags} <= {ref.target_commit for ref in refs.branches}
    return heads, tagged, [(pull.num, pull.status) for pull in api.get_repo_discussions(repo)]


def lost(message):
    """The client's own error for a line that breaks, of httpx or httpx2, whichever it uses."""
    from huggingface_hub.errors import HfHubHTTPError

    library = __import__(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])
    return library.ReadError(message)


@pytest.mark.parametrize(("error", "seen_as"), [(Killed, Killed), (lost, ValueError)])
@pytest.mark.parametrize("answered", [False, True])
def test_cut_off_at_any_request_the_same_command_ends_in_the_same_state(
    hub, folder, line, monkeypatch, error, seen_as, answered
):
    from huggingface_hub.utils import _http

    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    api = HfApi(endpoint=hub.address)

    def send(repo):
        return publish(
            folder, repo, tag="v1", really=True, verify=verify, endpoint=hub.address, progress=False
        )

    send("org/undisturbed")
    expected = state(api, "org/undisturbed")
    assert expected[1:] == (True, [(1, "merged")])
    reached = 0
    for number in itertools.count(1):
        repo = f"org/cut-{number}"
        line.cut(number, error, answered)
        try:
            send(repo)
        except seen_as:
            reached = number
        if len(line.requests) < number:
            break
        line.cut()
        assert send(repo).state in ("published", "already published")
        assert state(api, repo) == expected, f"cut off at request {number}"
    assert reached == number - 1 > 20
