"""What the clients of other APIs send is answered, and what it means is not guessed."""

import numpy as np
import pytest

from codequarry.integrations.serve.openai_schema import OpenAIBody
from codequarry.integrations.serve.requests import Limits, RequestContext, RequestError
from codequarry.integrations.serve.schemas import read_request
from codequarry.integrations.serve.tei_schema import SimilarityBody, TEIBody
from codequarry.modules.tasks import CODE, SIDES, TASKS

PROMPTS = CODE.prompts()


@pytest.fixture
def context(served):
    return RequestContext(served, Limits(texts=3, characters=50))


def prompts_of(schema, body, context):
    return [one.prompt for one in read_request(schema, body, context).texts]


SIDE_WORDS = {
    "query": ["query", "search_query", "retrieval.query", "RETRIEVAL_QUERY", "code_retrieval_query"],
    "document": ["document", "passage", "search_document", "retrieval.passage", "RETRIEVAL_DOCUMENT"],
}


@pytest.mark.parametrize("side", SIDES)
def test_input_type_is_the_side_in_the_words_of_every_api(side, context):
    for word in SIDE_WORDS[side]:
        body = {"model": "tiny", "input": "t", "input_type": word}
        assert prompts_of(OpenAIBody, body, context) == [PROMPTS[side]]
        for task in TASKS:
            expected = [CODE.prefix(task, side)]
            assert prompts_of(OpenAIBody, body | {"task": task}, context) == expected
            assert prompts_of(OpenAIBody, body | {"model": f"tiny:{task}_{side}"}, context) == expected
            assert prompts_of(OpenAIBody, body | {"prompt_name": f"{task}_{side}"}, context) == expected


@pytest.mark.parametrize("side", SIDES)
def test_jinas_task_holds_the_side(side, context):
    word = {"query": "query", "document": "passage"}[side]
    for task in TASKS:
        body = {"input": "t", "task": f"{task}.{word}", "normalized": True, "embedding_type": "float"}
        assert prompts_of(OpenAIBody, body, context) == [CODE.prefix(task, side)]
    assert prompts_of(OpenAIBody, {"input": "t", "task": f"retrieval.{word}"}, context) == [PROMPTS[side]]


def test_every_way_to_name_a_prompt_is_the_same_request(context):
    ways = [
        {"model": "tiny:qa_document"},
        {"prompt_name": "qa_document"},
        {"task": "qa", "side": "document"},
        {"task": "qa", "input_type": "passage"},
        {"task": "qa.passage"},
        {"task": "qa.document", "side": "document", "input_type": "search_document"},
        {"prompt_name": "qa_document", "task": "qa", "side": "document", "model": "tiny:qa_document"},
    ]
    for way in ways:
        assert prompts_of(OpenAIBody, {"input": "t"} | way, context) == [PROMPTS["qa_document"]]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"input_type": "classification"}, "input_type 'classification' is not a side of a search"),
        ({"input_type": "clustering", "task": "qa"}, "is not a side of a search: pass query or document"),
        ({"task": "text-matching"}, "task 'text-matching' has two sides"),
        ({"task": "qa.passages"}, "task 'passages' is not a side"),
        ({"task": "nothing.query"}, "'nothing' is not a task"),
        ({"task": "qa.query", "side": "document"}, "side says document, and another field query"),
        ({"task": "qa.query", "input_type": "passage"}, "task says query, and another field document"),
        ({"model": "tiny:qa_query", "input_type": "document"}, "qa_query is named, and the side document"),
        ({"prompt_name": "query", "input_type": "document"}, "query is named, and the side document"),
        (
            {"prompt_name": "qa_query", "model": "tiny:qa_document"},
            "asks for qa_document, prompt_name asks for",
        ),
        ({"prompt_name": "qa"}, "'qa' is not a prompt of this model"),
        ({"prompt_name": "qa_query", "truncate": "START"}, "would cut the prompt off first"),
        ({"prompt_name": "qa_query", "truncate": "maybe"}, "truncate is 'maybe': pass true or false"),
        ({"prompt_name": "qa_query", "output_dtype": "int8"}, "output_dtype is 'int8': pass float"),
        ({"prompt_name": "qa_query", "dimensions": 4, "output_dimension": 8}, "are the same field: pass one"),
        ({"raw": True, "input_type": "query"}, "raw is true"),
    ],
)
def test_what_contradicts_itself_or_means_nothing_here_is_refused(fields, sentence, context):
    with pytest.raises(RequestError, match=sentence) as error:
        read_request(OpenAIBody, {"input": "t"} | fields, context)
    assert error.value.status == 422


def test_fields_of_voyage_and_nvidia_have_their_meaning(context):
    voyage = {
        "model": "tiny",
        "input": ["t"],
        "input_type": "query",
        "truncation": False,
        "output_dtype": None,
    }
    voyage |= {"output_dimension": 4, "encoding_format": "base64"}
    read = read_request(OpenAIBody, voyage, context)
    assert (read.truncate, read.dims, read.base64) == (False, 4, True)
    nvidia = {"model": "tiny", "input": ["t"], "input_type": "passage", "encoding_format": "float"}
    for word, cut in (
        ("NONE", False),
        ("END", True),
        ("none", False),
        ("", True),
        (None, True),
        (True, True),
    ):
        assert read_request(OpenAIBody, nvidia | {"truncate": word}, context).truncate is cut


def test_parameters_count_beside_inputs_and_within_an_object_alike(context):
    fields = {"prompt_name": "qa_query", "normalize": False, "truncate": False, "dimensions": 4}
    fields |= {"truncation_direction": "right", "encoding_format": "float"}
    beside = read_request(TEIBody, {"inputs": "t"} | fields, context)
    within = read_request(TEIBody, {"inputs": "t", "parameters": fields}, context)
    both = read_request(TEIBody, {"inputs": "t", "parameters": fields} | fields, context)
    assert beside == within == both
    for nothing in ({}, None):
        body = {"inputs": "t", "prompt_name": "query", "parameters": nothing}
        assert prompts_of(TEIBody, body, context) == [PROMPTS["query"]]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            {"inputs": "t", "prompt_name": "query", "parameters": {"prompt_name": "document"}},
            "are the same field",
        ),
        ({"inputs": "t", "parameters": ["query"]}, "parameters is a list; it has to be an object"),
        ({"inputs": "t", "parameters": {"inputs": "u"}}, "inputs belongs beside parameters"),
        ({"inputs": "t", "parameters": {"promptname": "query"}}, "'promptname' is not a field"),
        ({"inputs": "t", "prompt_name": "query", "encoding_format": "base64"}, "'base64': pass float"),
    ],
)
def test_parameters_are_checked(body, sentence, context):
    with pytest.raises(RequestError, match=sentence):
        read_request(TEIBody, body, context)


PAIRS = {"source_sentence": "s", "sentences": ["a", "b"]}


def test_similarity_is_the_cosine_of_a_query_with_documents(asking, encoder):
    async def test(client, _):
        default = await client.post("/similarity", json={"inputs": PAIRS})
        root = await client.post("/", json={"inputs": PAIRS, "parameters": {}})
        task = await client.post("/similarity", json={"inputs": PAIRS, "parameters": {"task": "code2code"}})
        one = await client.post("/similarity", json={"inputs": PAIRS, "prompt_name": "qa_query"})
        raw = await client.post("/similarity", json={"inputs": PAIRS, "raw": True})
        return [answer.json() for answer in (default, root, task, one, raw)]

    def expected(query, document):
        source, *others = (encoder.vector(text) for text in (query + "s", document + "a", document + "b"))
        return [float(source @ other) for other in others]

    default, root, task, one, raw = asking(test)
    np.testing.assert_allclose(default, expected(PROMPTS["query"], PROMPTS["document"]), atol=1e-6)
    assert root == default
    np.testing.assert_allclose(
        task, expected(PROMPTS["code2code_query"], PROMPTS["code2code_document"]), atol=1e-6
    )
    np.testing.assert_allclose(one, expected(PROMPTS["qa_query"], PROMPTS["qa_query"]), atol=1e-6)
    np.testing.assert_allclose(raw, expected("", ""), atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "status", "sentence"),
    [
        ("t", 422, "inputs is a string; inputs has to be an object"),
        ({"source_sentence": "s"}, 422, "inputs has to be an object of source_sentence"),
        ({"sentences": ["a"]}, 422, "inputs has to be an object of source_sentence"),
        (PAIRS | {"sentences": []}, 422, "sentences is an empty list"),
        (PAIRS | {"sentences": "a"}, 422, "sentences (a list of texts)"),
        (PAIRS | {"sentence": "a"}, 422, "'sentence' is not a field of inputs"),
        (PAIRS | {"source_sentence": " "}, 422, "source_sentence is empty"),
        (PAIRS | {"source_sentence": "\0"}, 422, "source_sentence is empty: the model's tokenizer"),
        (PAIRS | {"sentences": ["a", "\0"]}, 422, "sentence 2 of 2 is empty: the model's tokenizer"),
        (PAIRS | {"sentences": ["a", ""]}, 422, "text 2 of 2 is empty"),
        (PAIRS | {"sentences": ["a"] * 4}, 413, "inputs holds 4 sentences; this server takes 3"),
    ],
)
def test_similarity_names_what_is_wrong(asking, inputs, status, sentence):
    async def test(client, _):
        return await client.post("/similarity", json={"inputs": inputs})

    answer = asking(test, limits=Limits(texts=4))
    assert answer.status_code == status
    assert sentence in answer.json()["error"]
    assert answer.json()["error_type"] == "Validation"


def test_similarity_takes_one_of_task_and_prompt(context):
    with pytest.raises(RequestError, match="task and prompt_name are both given"):
        read_request(SimilarityBody, {"inputs": PAIRS, "task": "qa", "prompt_name": "qa_query"}, context)
    with pytest.raises(RequestError, match="'q' is not a task"):
        read_request(SimilarityBody, {"inputs": PAIRS, "task": "q"}, context)


def test_texts_that_brought_their_prompt_are_counted_in_a_header(asking, encoder):
    prompt = PROMPTS["nl2code_document"]

    async def test(client, _):
        own = await client.post("/embed", json={"inputs": [prompt + "x", "y"], "prompt_name": "document"})
        assert encoder.batches[-1] == [prompt + "x", prompt + "y"]
        none = await client.post("/v1/embeddings", json={"input": prompt + "x"})
        assert encoder.batches[-1] == [prompt + "x"]
        plain = await client.post("/embed", json={"inputs": "y", "prompt_name": "document"})
        return own, none, plain

    own, none, plain = asking(test)
    assert [one.status_code for one in (own, none, plain)] == [200] * 3
    assert [one.headers.get("x-texts-as-sent") for one in (own, none, plain)] == ["1", "1", None]


def test_one_model_is_found_by_every_name_that_the_list_has(asking, served):
    async def test(client, _):
        models = (await client.get("/v1/models")).json()["data"]
        for model in models:
            for written in (model["id"], model["id"].replace("/", "%2F").replace(":", "%3A")):
                assert (await client.get(f"/v1/models/{written}")).json() == model
        for lost in ("gpt-4", "tiny:nothing", "owner/model", "a%2Fb", "", "x" * 500):
            answer = await client.get(f"/v1/models/{lost}")
            assert answer.status_code == 404
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("invalid_request_error", "model_not_found")
            assert "this server has" in error["message"]

    asking(test)
    object.__setattr__(
        served, "name", "owner/tiny"
    )  # the fixture's own object: the server's name has a slash
    asking(test)


JSON = b'{"inputs": "a b", "prompt_name": "qa_query"}'


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": 'Application/JSON;charset="UTF-8"'},
        {"Content-Type": "application/json", "Content-Encoding": "identity"},
    ],
)
def test_json_is_taken_however_its_type_is_written(asking, headers):
    async def test(client, _):
        return await client.post("/embed", content=JSON, headers=headers)

    assert asking(test).status_code == 200


@pytest.mark.parametrize("path", ["/embed", "/", "/similarity", "/v1/embeddings"])
@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"Content-Type": "text/plain"}, "the body has Content-Type 'text/plain': send JSON"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "curl: -H"),
        ({"Content-Type": "multipart/form-data; boundary=application/json"}, "multipart/form-data"),
        ({"Content-Type": "text/plain, application/json"}, "send JSON"),
        ({"Content-Type": "application/jsonp"}, "send JSON"),
        ({"Content-Type": ""}, "send JSON"),
        ({"Content-Type": "application/json; charset=utf-16"}, "announced in utf-16: send JSON in UTF-8"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "the body is compressed ('gzip')"),
    ],
)
def test_another_type_is_refused_before_the_model_is_asked(asking, encoder, path, headers, sentence):
    async def test(client, _):
        done = len(encoder.batches)
        answer = await client.post(path, content=JSON, headers=headers)
        return answer, len(encoder.batches) - done

    answer, batches = asking(test)
    assert (answer.status_code, batches) == (415, 0)
    error = answer.json()["error"]
    assert sentence in (error["message"] if path.startswith("/v1") else error)


def test_a_body_without_a_type_is_refused(asking):
    async def test(client, _):
        del client.headers["content-type"]
        return await client.post("/embed", content=JSON)

    answer = asking(test)
    assert (answer.status_code, "the body has no Content-Type" in answer.text) == (415, True)


def test_as_many_inputs_as_openai_takes_are_taken_and_one_more_is_not(asking, encoder):
    async def test(client, _):
        answers = []
        for count in (2048, 2049):
            body = {"model": "tiny:query", "input": ["a"] * count, "encoding_format": "base64"}
            answers.append(await client.post("/v1/embeddings", json=body))
        return answers

    taken, refused = asking(test)
    assert (taken.status_code, len(taken.json()["data"])) == (200, 2048)
    assert refused.status_code == 413
    assert "input holds 2049 texts; this server takes 2048 a request" in refused.json()["error"]["message"]
