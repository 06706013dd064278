"""Requests to another name than this server's are refused; other sites' pages read nothing unless allowed."""

import socket

import pytest

from codequarry.integrations.serve.hosts import Hosts, check_origins

EMBED = {"inputs": ["a b"], "prompt_name": "qa_query"}


@pytest.mark.parametrize(
    ("bound", "allowed", "host", "is_ours"),
    [
        ("127.0.0.1", [], "127.0.0.1:8080", True),
        ("127.0.0.1", [], "127.0.0.1", True),
        ("127.0.0.1", [], "127.9.9.9:1", True),
        ("127.0.0.1", [], "localhost:8080", True),
        ("127.0.0.1", [], "LOCALHOST.:8080", True),
        ("127.0.0.1", [], "app.localhost", True),
        ("127.0.0.1", [], "[::1]:8080", True),
        ("127.0.0.1", [], "[0:0:0:0:0:0:0:1]", True),
        ("127.0.0.1", [], None, True),
        ("127.0.0.1", [], "evil.example", False),
        ("127.0.0.1", [], "127.0.0.1.evil.example", False),
        ("127.0.0.1", [], "localhost.evil.example:8080", False),
        ("127.0.0.1", [], "evil.example#localhost", False),
        ("127.0.0.1", [], "user@localhost", False),
        ("127.0.0.1", [], "localhost, evil.example", False),
        ("127.0.0.1", [], "notlocalhost", False),
        ("127.0.0.1", [], "10.0.0.5", False),
        ("127.0.0.1", [], "0.0.0.0:8080", False),
        ("127.0.0.1", [], "", False),
        ("127.0.0.1", [], ":8080", False),
        ("127.0.0.1", [], "localhost:", False),
        ("127.0.0.1", [], "localhost:port", False),
        ("127.0.0.1", ["vectors.example"], "Vectors.Example:80", True),
        ("127.0.0.1", ["vectors.example"], "a.vectors.example", False),
        ("127.0.0.1", ["*.example.org"], "a.b.example.org", True),
        ("127.0.0.1", ["*.example.org"], "example.org", False),
        ("127.0.0.1", ["*.example.org"], "evilexample.org", False),
        ("127.0.0.1", ["10.0.0.5"], "10.0.0.5:8080", True),
        ("127.0.0.1", ["[fd00::1]"], "[fd00:0::1]:8080", True),
        ("127.0.0.1", ["*"], "evil.example", True),
        ("vectors.example", [], "vectors.example:8080", True),
        ("10.0.0.5", [], "10.0.0.5", True),
        ("10.0.0.5", [], "10.0.0.6", False),
        ("0.0.0.0", [], "10.0.0.6:8080", True),
        ("::", [], "[fd00::5]:8080", True),
        ("0.0.0.0", [], socket.gethostname(), True),
        ("0.0.0.0", [], "evil.example", False),
        ("0.0.0.0", ["embeddings"], "embeddings:8080", True),
    ],
)
def test_a_name_is_ours_when_it_cannot_be_another_sites(bound, allowed, host, is_ours):
    assert Hosts(bound, allowed).has(host) is is_ours


@pytest.mark.parametrize(
    "name", ["http://a", "a:80", "a/b", "", "a b", "**.a", "a.*", "[::1", "*a", "a\r\nb", "256.1.1.1:1"]
)
def test_a_name_that_no_request_carries_is_refused_at_the_start(name):
    with pytest.raises(ValueError, match="is no name of a machine"):
        Hosts("127.0.0.1", [name])


@pytest.mark.parametrize(
    "origin", ["localhost:3000", "http://a/", "http://a/b", "a", "", "http://", "null", "http://a,http://b"]
)
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(origin):
    check_origins(["*", "http://localhost:3000", "https://a.example", "chrome-extension://abc"])
    with pytest.raises(ValueError, match="is no origin"):
        check_origins([origin])


def test_a_request_to_another_name_is_refused_before_anything_else(asking, encoder):
    async def test(client, _):
        done = len(encoder.batches)
        for host in ("here", "evil.example:8080"):
            headers = {"Host": host}
            tei = await client.post("/embed", json=EMBED, headers=headers)
            openai = await client.get("/v1/models", headers=headers)
            health = await client.get("/health", headers=headers)
            assert (tei.status_code, openai.status_code, health.status_code) == (403, 403, 403)
            assert f"not called {host!r}" in tei.json()["error"]
            assert "--allowed-host" in openai.json()["error"]["message"]
        assert len(encoder.batches) == done

    asking(test, hosts=Hosts("127.0.0.1"), key="k")


def _preflight(client, path, origin, header="authorization,content-type"):
    return client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": header,
            "Access-Control-Request-Private-Network": "true",
        },
    )


def test_pages_of_other_sites_get_no_permission_by_default(asking):
    async def test(client, _):
        before = await _preflight(client, "/embed", "http://localhost:3000")
        answer = await client.post("/embed", json=EMBED, headers={"Origin": "http://localhost:3000"})
        return before, answer

    before, answer = asking(test)
    assert before.status_code == 405
    for one in (before, answer):
        assert not [name for name in one.headers if name.startswith("access-control")]


@pytest.mark.parametrize("key", [None, "open"])
def test_pages_of_an_allowed_origin_may_ask_and_read_also_errors(asking, key):
    async def test(client, _):
        ours, other = "http://localhost:3000", "http://localhost:3001"
        for path in ("/embed", "/v1/embeddings", "/"):
            allowed = await _preflight(client, path, ours)
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == ours
            assert "POST" in allowed.headers["access-control-allow-methods"]
            assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
            assert allowed.headers["access-control-allow-private-network"] == "true"
            assert (await _preflight(client, path, other)).status_code == 400
        for body, status in ((EMBED, 200 if key is None else 401), ({}, 422 if key is None else 401)):
            answer = await client.post("/embed", json=body, headers={"Origin": ours})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ours)
            strange = await client.post("/embed", json=body, headers={"Origin": other})
            assert "access-control-allow-origin" not in strange.headers

    asking(test, origins=["http://localhost:3000"], key=key)


def test_a_star_allows_every_page(asking):
    async def test(client, _):
        return await client.post("/embed", json=EMBED, headers={"Origin": "http://any.example"})

    assert asking(test, origins=["*"]).headers["access-control-allow-origin"] == "*"
