"""The numbers of `/metrics` are those of what was asked, in Prometheus' format."""

import re

import pytest

from codequarry.integrations.serve.metrics import Histogram, Metrics
from codequarry.modules.tasks import CODE

EMBED = {"inputs": ["a b", "c"], "prompt_name": "qa_query"}
LINE = re.compile(r'([a-z_]+)((?:\{(?:[a-z]+="[^"\n\\]*",?)+\})?) (\S+)')


def read(page):
    """Series by name and labels; every line is one, or tells the type of those that follow."""
    found, kinds = {}, {}
    for line in page.splitlines():
        if line.startswith("#"):
            _, word, name, rest = line.split(" ", 3)
            if word == "TYPE":
                assert name not in kinds
                kinds[name] = rest
            continue
        name, labels, value = LINE.fullmatch(line).groups()
        family = name if name in kinds else re.sub("_(bucket|sum|count)$", "", name)
        assert kinds[family] in ("counter", "gauge", "histogram")
        assert (name, labels) not in found
        found[name, labels] = float(value)
    return found


def test_answers_batches_and_tokens_are_counted(asking, encoder):
    async def test(client, _):
        before = read((await client.get("/metrics")).text)
        for body in (EMBED, EMBED, {}):
            await client.post("/embed", json=body)
        await client.get("/v1/models/tiny:qa_query")
        await client.get("/v1/models/" + "x" * 500)
        await client.get("/such/a/path")
        await client.request("BREW", "/embed")
        answer = await client.get("/metrics")
        return before, answer, read(answer.text)

    before, answer, after = asking(test)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"

    def requests(method, route, status):
        key = ("codequarry_requests_total", f'{{method="{method}",route="{route}",status="{status}"}}')
        return after.get(key, 0) - before.get(key, 0)

    assert requests("POST", "/embed", 200) == 2
    assert requests("POST", "/embed", 422) == 1
    assert requests("GET", "/v1/models/{id}", 200) == 1
    assert requests("GET", "/v1/models/{id}", 404) == 1
    assert requests("GET", "other", 404) == 1
    assert requests("other", "/embed", 405) == 1
    assert after["codequarry_request_seconds_count", '{route="/embed"}'] == 4

    def grown(name):
        return after[name, ""] - before[name, ""]

    prompt = CODE.prefix("qa", "query")
    assert grown("codequarry_tokens_total") == 2 * sum(encoder.count_tokens([prompt + "a b", prompt + "c"]))
    assert grown("codequarry_batch_texts_sum") == 4
    assert grown("codequarry_batch_texts_count") == grown("codequarry_batch_seconds_count")
    assert after["codequarry_queue_texts", ""] == after["codequarry_requests_open", ""] == 0
    assert after["codequarry_healthy", ""] == 1


def test_a_histogram_counts_every_value_under_each_bound_that_is_not_below_it():
    histogram = Histogram((1, 2.5))
    for value in (0.5, 1, 1.1, 2.5, 3, 100):
        histogram.observe(value)
    assert histogram.lines("h", 'a="b"') == [
        'h_bucket{a="b",le="1"} 2',
        'h_bucket{a="b",le="2.5"} 4',
        'h_bucket{a="b",le="+Inf"} 6',
        'h_sum{a="b"} 108.1',
        'h_count{a="b"} 6',
    ]


def test_the_page_of_a_server_that_was_never_asked_is_well_formed():
    found = read(Metrics().text({"codequarry_healthy": ("Words.", False)}))
    assert set(found.values()) == {0.0}


def test_the_numbers_need_the_key(asking):
    async def test(client, _):
        refused = await client.get("/metrics")
        shown = await client.get("/metrics", headers={"Authorization": "Bearer open"})
        return refused.status_code, shown.status_code

    assert asking(test, key="open") == (401, 200)


@pytest.mark.parametrize("name", ["codequarry_queue_texts", "codequarry_requests_open"])
def test_what_waits_is_shown_while_it_waits(asking, encoder, until, name):
    import asyncio

    async def test(client, _):
        encoder.gate.clear()
        encoder.at_work.clear()
        first = asyncio.create_task(client.post("/embed", json=EMBED))
        await asyncio.to_thread(encoder.at_work.wait)
        second = asyncio.create_task(client.post("/embed", json=EMBED))
        seen = []

        async def look():
            seen.append(read((await client.get("/metrics")).text)[name, ""])
            return seen[-1] == 2

        while not await look():
            await asyncio.sleep(0.001)
        encoder.gate.set()
        await asyncio.gather(first, second)

    asking(test)
