"""What the server answers, and to whom, with a fake model behind it."""

import base64
import json

import httpx
import numpy as np
import pytest

from codequarry.integrations.serve import app
from codequarry.integrations.serve.app import Service
from codequarry.integrations.serve.requests import Limits
from codequarry.modules.tasks import CODE

EMBED = {"inputs": ["a b"], "prompt_name": "qa_query"}
OPENAI = {"model": "tiny:qa_query", "input": "a b"}
SMALL = Limits(body_bytes=2000, texts=3, characters=50, body_seconds=0.2)


def unit(vector, dims):
    cut = vector[:dims]
    return cut / np.linalg.norm(cut)


def test_openai_gets_one_object_a_text_with_the_prompt_in_front(asking, encoder):
    async def test(client, _):
        body = {"model": "tiny", "task": "qa", "side": "document", "input": ["x y", "z"], "dimensions": 4}
        return (await client.post("/v1/embeddings", json=body)).json()

    answer = asking(test)
    prefix = CODE.prefix("qa", "document")
    assert encoder.batches[-1] == [prefix + "x y", prefix + "z"]
    assert [row["index"] for row in answer["data"]] == [0, 1]
    for row, text in zip(answer["data"], ("x y", "z"), strict=True):
        np.testing.assert_allclose(row["embedding"], unit(encoder.vector(prefix + text), 4), atol=1e-7)
    read = sum(encoder.count_tokens([prefix + "x y", prefix + "z"]))
    assert answer["usage"] == {"prompt_tokens": read, "total_tokens": read}
    assert (answer["object"], answer["model"]) == ("list", "tiny")


def test_base64_holds_the_same_numbers_as_the_list(asking):
    async def test(client, _):
        rows = []
        for encoding in ("float", "base64"):
            answer = await client.post("/v1/embeddings", json=OPENAI | {"encoding_format": encoding})
            rows.append(answer.json()["data"][0]["embedding"])
        return rows

    numbers, packed = asking(test)
    assert np.array_equal(np.frombuffer(base64.b64decode(packed), "<f4"), np.float32(numbers))


def test_tei_gets_a_list_of_vectors_also_for_one_text(asking, encoder):
    async def test(client, _):
        full = await client.post("/embed", json={"inputs": "a b", "prompt_name": "code2nl_query"})
        raw = await client.post("/embed", json=EMBED | {"dimensions": 4, "normalize": False})
        return full.json(), raw.json()

    full, raw = asking(test)
    np.testing.assert_allclose(full, [encoder.vector(CODE.prefix("code2nl", "query") + "a b")], atol=1e-7)
    np.testing.assert_allclose(raw, [encoder.vector(CODE.prefix("qa", "query") + "a b")[:4]], atol=1e-7)


def test_a_model_name_is_listed_for_every_prompt_and_each_is_answered(asking, encoder):
    async def test(client, _):
        names = [row["id"] for row in (await client.get("/v1/models")).json()["data"]]
        assert names == ["tiny", *(f"tiny:{name}" for name in CODE.prompts())]
        for name in names[1:]:
            answer = await client.post("/v1/embeddings", json={"model": name, "input": "t"})
            assert answer.json()["model"] == name
            assert encoder.batches[-1] == [CODE.prompts()[name.partition(":")[2]] + "t"]

    asking(test)


def test_a_request_without_a_prompt_is_refused_unless_there_is_a_default(asking, encoder):
    async def both(client, _):
        return [
            await client.post("/v1/embeddings", json={"model": "tiny", "input": "t"}),
            await client.post("/embed", json={"inputs": "t"}),
        ]

    for answer in asking(both):
        assert answer.status_code == 422
        assert "no prompt was named" in answer.text
        assert "nl2code_document" in answer.text
    for answer in asking(both, default_prompt="qa_document"):
        assert answer.status_code == 200
    assert encoder.batches[-1] == [CODE.prefix("qa", "document") + "t"]


def test_a_default_prompt_that_the_model_lacks_is_refused_at_once(encoder, served):
    with pytest.raises(ValueError, match="'qa' is not a prompt of tiny"):
        Service(encoder, served, default_prompt="qa")


WRONG = [
    (b"{", 400, "is not JSON: Expecting property name"),
    (b"\xff{}", 400, "is not UTF-8: byte 0"),
    (b"[1]", 400, "is a JSON list; it has to be an object"),
    (b"[" * 1500, 400, "is JSON nested too deeply"),
    (b" " * 2001, 413, "takes 2,000 bytes a request"),
    ({"TEXTS": []}, 422, "is an empty list"),
    ({"TEXTS": None}, 422, "is null; it has to be a text or a list of texts"),
    ({"TEXTS": {"a": 1}}, 422, "is an object; it has to be a text or a list of texts"),
    ({"TEXTS": ["a", {}]}, 422, "text 2 of 2 is an object, not a text"),
    ({"TEXTS": [1, 2]}, 422, "text 1 of 1 is a list of token ids; this server takes text only"),
    ({"TEXTS": ["a", [1, 2]]}, 422, "text 2 of 2 is a list of token ids"),
    ({"TEXTS": ["a", "\0"]}, 422, "text 2 of 2 is empty: the model's tokenizer makes no token of it"),
    (b'{"TEXTS": ["a", "b \\ud83d"], PROMPT}', 422, "text 2 of 2 has half a surrogate pair at character 3"),
    ({"TEXTS": ["a", " \n"]}, 422, "text 2 of 2 is empty"),
    ({"TEXTS": ["a"] * 4}, 413, "holds 4 texts; this server takes 3 a request"),
    ({"TEXTS": ["a", "b" * 51]}, 413, "text 2 of 2 has 51 characters; this server takes 50"),
    ({"TEXTS": "a", "dimensions": 5}, 422, "dimensions 5 is not among the trained ones (8, 4)"),
    ({"TEXTS": "a", "dimensions": True}, 422, "dimensions True is not among"),
    ({"TEXTS": "a", "dims": 4}, 422, "'dims' is not a field of this request"),
    ({"TEXTS": "poison"}, 500, "text 1 of 1 could not be embedded: the model raised RuntimeError"),
    ({"TEXTS": ["a", "nan"]}, 500, "text 2 of 2 got a vector that is not made of numbers"),
]


@pytest.mark.parametrize(("body", "status", "sentence"), WRONG)
@pytest.mark.parametrize(
    ("path", "field", "prompt"),
    [("/v1/embeddings", "input", {"model": "tiny:query"}), ("/embed", "inputs", {"prompt_name": "query"})],
)
def test_what_is_wrong_is_said_in_each_shape(asking, path, field, prompt, body, status, sentence):
    async def test(client, _):
        if isinstance(body, bytes):
            whole = body.replace(b"TEXTS", field.encode()).replace(
                b"PROMPT", json.dumps(prompt)[1:-1].encode()
            )
            return await client.post(path, content=whole)
        named = {name.replace("TEXTS", field): value for name, value in body.items()}
        return await client.post(path, json=prompt | named)

    answer = asking(test, limits=SMALL)
    assert answer.status_code == status
    if path == "/embed":
        kind = "Backend" if status == 500 else "Validation"
        assert answer.json()["error_type"] == kind
        assert sentence in answer.json()["error"]
    else:
        error = answer.json()["error"]
        assert error["type"] == ("server_error" if status == 500 else "invalid_request_error")
        assert sentence in error["message"]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"model": "gpt", "input": "t"}, 404, "'gpt' is not here; this server has 'tiny'"),
        ({"model": "gpt:qa_query", "input": "t"}, 404, "is not here"),
        ({"model": "tiny:qa", "input": "t"}, 422, "'qa' is not a prompt of this model"),
        ({"model": "tiny", "task": "qa", "input": "t"}, 422, "task 'qa' has two sides"),
        ({"model": "tiny", "side": "query", "input": "t"}, 422, "pass task as well, one of nl2code"),
        ({"model": "tiny", "task": "q", "side": "query", "input": "t"}, 422, "'q' is not a task"),
        ({"model": "tiny", "task": "qa", "side": "doc", "input": "t"}, 422, "'doc' is not a side"),
        ({"model": "tiny:qa_query", "task": "qa", "side": "document", "input": "t"}, 422, "name one"),
        ({"model": "tiny:qa_query", "input": "t", "encoding_format": "int8"}, 422, "pass float or base64"),
    ],
)
def test_openai_prompts_cannot_be_mixed_up(asking, body, status, sentence):
    async def test(client, _):
        return await client.post("/v1/embeddings", json=body)

    answer = asking(test, default_prompt="query")
    assert answer.status_code == status
    assert sentence in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"prompt_name": "qa"}, "'qa' is not a prompt of this model"),
        ({"prompt_name": 3}, "prompt_name is a number; it has to be a string"),
        ({"normalize": "no"}, "normalize is 'no': pass true or false"),
        ({"truncation_direction": "left"}, "would cut the prompt off first"),
        ({"truncate": False, "inputs": "word " * 50}, "text 1 of 1 has 59 tokens with its prompt"),
    ],
)
def test_tei_fields_are_checked(asking, more, sentence):
    async def test(client, _):
        return await client.post("/embed", json=EMBED | more)

    answer = asking(test)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]


@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/similarity"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"\\ud800": 1}',
        b'{"model": "\\ud800", "input": "t"}',
        b'{"prompt_name": "\\udfff", "inputs": "t", "input": "t"}',
        b'{"task": "\\ud800.query", "input": "t"}',
        b'{"inputs": {"\\ud800": 1}, "parameters": {"\\ud800": 1}}',
        b'{"input": "t", "encoding_format": "\\ud800", "input_type": "\\ud800"}',
    ],
)
def test_an_error_may_quote_half_a_surrogate_pair(asking, path, body):
    async def test(client, _):
        return await client.post(path, content=body)

    answer = asking(test)
    assert answer.status_code in (404, 422)
    assert "error" in answer.json()


def test_a_fault_of_ours_is_an_error_in_the_schema_of_its_api(listening, monkeypatch):
    monkeypatch.setattr(app, "openai_models", lambda _: 1 / 0)
    monkeypatch.setattr(app, "asdict", lambda _: 1 / 0)
    url = listening().url
    openai, tei = httpx.get(f"{url}/v1/models"), httpx.get(f"{url}/info")
    assert (openai.status_code, tei.status_code) == (500, 500)
    assert openai.json()["error"]["type"] == "server_error"
    assert tei.json()["error_type"] == "Backend"


def test_null_fields_are_absent_ones(asking):
    async def test(client, _):
        nothing = {"dimensions": None, "normalize": None, "truncate": None, "truncation_direction": None}
        return await client.post("/embed", json=EMBED | nothing)

    assert asking(test).status_code == 200


def test_a_key_is_asked_for_everywhere_but_at_health(asking):
    async def test(client, _):
        right, wrong = {"Authorization": "Bearer open"}, {"Authorization": "Bearer opem"}
        for headers in ({}, wrong, {"Authorization": "open"}):
            for request in (
                client.post("/embed", json=EMBED, headers=headers),
                client.post("/v1/embeddings", json=OPENAI, headers=headers),
                client.get("/v1/models", headers=headers),
                client.get("/info", headers=headers),
            ):
                answer = await request
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert "open" not in answer.text
        assert (await client.post("/embed", json=EMBED, headers=right)).status_code == 200
        assert (await client.get("/info", headers=right)).status_code == 200
        assert (await client.get("/health")).status_code == 200

    asking(test, key="open")


def test_another_path_or_method_is_answered_with_those_there_are(asking):
    async def test(client, _):
        lost, wrong = await client.get("/v1/chat"), await client.get("/embed")
        assert (lost.status_code, wrong.status_code) == (404, 405)
        assert "POST /v1/embeddings" in lost.json()["error"]["message"]
        assert "POST /embed" in wrong.json()["error"]

    asking(test)


def test_info_says_what_clients_must_know(asking):
    async def test(client, _):
        return (await client.get("/info")).json()

    info = asking(test, default_prompt="query")
    assert info["model_id"] == "tiny"
    assert info["dimensions"] == [8, 4]
    assert info["prompts"] == CODE.prompts()
    assert info["default_prompt"] == "query"
    assert info["limits"]["queue_texts"] == Limits().queue_texts
