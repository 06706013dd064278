"""What a user calls a repository, and what of it is never without_secrets, stored or asked."""

import base64
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from codequarry.common.environment import written_command
from codequarry.data.git import open_repository, without_secrets
from codequarry.data.git.address import Address, parse_address
from codequarry.data.mining.checkout import open_tree, tree_name
from codequarry.data.mining.mine import mine
from codequarry.data.mining.output import write_mined

TOKEN = "ghp_verysecret0123"


@pytest.fixture
def no_network(monkeypatch) -> None:
    def ask(*arguments: object, **more: object) -> None:
        raise AssertionError(f"a host was asked: {arguments}")

    monkeypatch.setattr("codequarry.data.git.remote.run", ask)


@pytest.mark.parametrize(
    "where",
    [
        *("./projct", "../projct", "/nowhere/projct", "~/projct", "a\\b", "C:\\code", "C:/code", "projct"),
        *("src/utlis", "src/utlis/", "link/x", "file.py/x", "notes/index.md", "scr/utils", "src/a/b", "a//b"),
        *("packages/@scope/name", "@scope/name", "host:path", ".hidden/name", "name/..", "name/.", "a b/c"),
        *("", "-x", "--upload-pack=x", "ext::sh -c true", "ext::https://host/x", "fd::3/x", "https://"),
        *("hg+https://host/x", "javascript://x", "git@-oProxyCommand=x:y", "https://host/x\ny", "x\x1b[2J/y"),
        *("https://me:p/w@host/x", "https://me:p#w@host/x", "ssh://me:pw@host/x", "file://other.host/x"),
    ],
)
def test_what_looks_like_a_folder_or_runs_a_command_is_asked_of_no_host(
    tmp_path, monkeypatch, no_network, where
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for folder in ("src/utils", "notes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to("nowhere")
    for file in ("file.py", "notes/index.md"):
        (tmp_path / file).write_text("x")
    with pytest.raises(ValueError, match=r"pass|expected|Did you mean|written"), open_tree(where):
        pass


@pytest.mark.parametrize(
    ("where", "url"),
    [
        ("pallets/click", "https://github.com/pallets/click"),
        ("openai/human-eval", "https://github.com/openai/human-eval"),
        ("vuejs/core.js", "https://github.com/vuejs/core.js"),
        ("https://host/a/b.git", "https://host/a/b.git"),
        ("http://host:8080/a", "http://host:8080/a"),
        ("git://host/a", "git://host/a"),
        ("ssh://git@host:22/a/b", "ssh://git@host:22/a/b"),
        ("git@host:a/b.git", "git@host:a/b.git"),
        (f"https://{TOKEN}@host/a", "https://host/a"),
        (f"https://me:{TOKEN}@host/a?key=1", "https://host/a"),
    ],
)
def test_addresses_are_asked_without_their_credentials(where, url) -> None:
    address = parse_address(where)
    assert address.url == url
    assert bool(address.secret_url) == (TOKEN in where)
    assert TOKEN not in repr(address)


def test_a_repository_on_github_is_meant_by_its_whole_address(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pallets").mkdir()
    asked = []

    def bring(address: Address, *_: object, **__: object) -> Path:
        asked.append(address.name)
        raise NotImplementedError

    monkeypatch.setattr("codequarry.data.git.repository.bring", bring)
    with pytest.raises(NotImplementedError):
        open_repository("https://github.com/pallets/click")
    with pytest.raises(NotImplementedError):  # a row of a table is no typing error
        open_repository("pallets/click", is_typed=False)
    assert asked == ["pallets/click"] * 2


@pytest.mark.parametrize(
    "where",
    [
        f"https://me:{TOKEN}@host/own/name.git",
        f"https://{TOKEN}@host/own/name",
        f"https://me:a@{TOKEN}@host/own/name",
        f"https://host/own/name.git?private_token={TOKEN}",
        f"https://host/own/name#{TOKEN}",
        f"me:{TOKEN}@host.org/own/name",
        f"{TOKEN}@host.org/own/name",
    ],
)
def test_no_name_and_no_command_holds_a_credential(where) -> None:
    assert TOKEN not in without_secrets(where)
    assert tree_name(where) in ("own/name", "name")
    if "://" in where:  # others are refused before anything is written
        assert TOKEN not in written_command(words=["--repo", where, f"--repo={where}"])


class _Static(http.server.SimpleHTTPRequestHandler):
    """A folder over HTTP for who has the password, as a plain server gives a bare repository."""

    asked: list[str]

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()
        self.asked.append(self.path)
        if self.headers.get("Authorization") == expected:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(repository, tmp_path, monkeypatch) -> Iterator[str]:
    """The address of a private repository, without credentials."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    code = '"""Sums."""\n\ndef add(a, b):\n    """Add both numbers that were given."""\n    return a + b\n'
    repository.commit("Begin the project", {"add.py": code})
    repository.commit("Add another sum for the settings", {"more.py": code.replace("add", "more")})
    bare = tmp_path / "served/name.git"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))
    subprocess.run(["git", "-C", bare, "update-server-info"], check=True)
    handler = type("Handler", (_Static,), {"asked": []})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *a: handler(*a, directory=str(tmp_path / "served"))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/name.git"
        server.shutdown()


def stored(folder: Path) -> str:
    return "".join(
        str(path) + (path.read_bytes().decode("latin-1") if path.is_file() else "")
        for path in folder.rglob("*")
    )


def test_a_private_repository_is_read_and_its_token_is_stored_nowhere(served, tmp_path, monkeypatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    monkeypatch.setenv("HOME", str(home))
    where = served.replace("http://", f"http://me:{TOKEN}@")
    for _ in range(2):  # the second time from the cache, which is brought up to date
        mined = mine([where])
        write_mined(tmp_path / "out", mined)
    assert list(mined.sources) == ["127.0.0.1/name"]
    assert [*mined.train, *mined.heldout]
    opened = open_repository(where)
    assert opened.name == served
    assert TOKEN not in stored(tmp_path / "cache") + stored(tmp_path / "out") + stored(home)
    assert TOKEN not in repr(mined) + repr(opened)


def test_what_git_says_of_a_private_repository_is_shown_without_the_token(served) -> None:
    wrong = TOKEN + "x"
    for where in (
        served.replace("http://", f"http://me:{wrong}@"),
        served.replace("http://", f"http://{wrong}@"),
        served.replace("name.git", "absent.git").replace("http://", f"http://me:{TOKEN}@"),
        f"http://me:{TOKEN}@127.0.0.1:1/name.git?token={TOKEN}",
    ):
        with pytest.raises(ValueError, match=r"git could not read http://127") as refused, open_tree(where):
            pass
        assert TOKEN not in str(refused.value)
        assert "fatal: " in str(refused.value)


def test_a_clone_that_an_earlier_version_stored_with_a_token_loses_it(served, tmp_path) -> None:
    where = served.replace("http://", f"http://me:{TOKEN}@")
    head = open_repository(where).resolve()
    (clone,) = (tmp_path / "cache/git").iterdir()
    subprocess.run(["git", f"--git-dir={clone}", "config", "remote.origin.url", where], check=True)
    assert open_repository(where, commit=head, history=True).resolve() == head
    assert TOKEN not in stored(tmp_path / "cache")
