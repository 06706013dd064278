"""Bodies are validated by pydantic, and what is wrong with one is a sentence; numbers come back exactly."""

import json

import numpy as np
import pytest

from codequarry.integrations.serve.openai_schema import OpenAIBody
from codequarry.integrations.serve.requests import (
    EmbeddingRequest,
    Limits,
    Prompted,
    RequestContext,
    RequestError,
)
from codequarry.integrations.serve.schemas import as_list, read_request
from codequarry.integrations.serve.tei_schema import TEIBody
from codequarry.modules.tasks import CODE

OPENAI = {"model": "tiny:qa_query", "input": "t"}

TEI = {"inputs": "t", "prompt_name": "qa_query"}


@pytest.fixture
def context(served):
    return RequestContext(served, Limits(texts=3, characters=50))


def behind(name, *texts):
    return tuple(Prompted(CODE.prompts()[name], text) for text in texts)


def test_every_field_of_a_body_reaches_the_request(context):
    body = {"model": "tiny", "input": ["a", "b"], "task": "qa", "side": "document", "dimensions": 4}
    body |= {"encoding_format": "base64", "user": {"any": "thing"}}
    assert read_request(OpenAIBody, body, context) == EmbeddingRequest(
        behind("qa_document", "a", "b"), 4, model="tiny", base64=True
    )
    body = {"inputs": "a", "prompt_name": "qa_query", "normalize": False, "truncate": False, "dimensions": 4}
    assert read_request(TEIBody, body | {"truncation_direction": "Right"}, context) == EmbeddingRequest(
        behind("qa_query", "a"), 4, normalize=False, truncate=False
    )


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (OpenAIBody, OPENAI | {"encoding_format": "", "dimensions": None, "task": None, "side": None}),
        (
            TEIBody,
            TEI | {"truncation_direction": "", "dimensions": None, "normalize": None},
        ),
    ],
)
def test_null_and_an_empty_choice_are_the_same_as_absent(schema, body, context):
    plain = {name: value for name, value in body.items() if value not in (None, "")}
    assert len(plain) == 2
    assert read_request(schema, body, context) == read_request(schema, plain, context)


@pytest.mark.parametrize(
    ("schema", "body", "field", "sentence"),
    [
        (OpenAIBody, {"model": "tiny"}, "input", "input is missing; it has to be a text or a list of texts."),
        (TEIBody, {}, "inputs", "inputs is missing; it has to be a text or a list of texts."),
        (TEIBody, TEI | {"prompt_name": 3}, "prompt_name", "prompt_name is a number; it has to be a string."),
        (OpenAIBody, OPENAI | {"model": ["a"]}, "model", "model is a list; it has to be a string."),
        (TEIBody, TEI | {"truncate": 1}, "truncate", "truncate is 1: pass true or false."),
        (TEIBody, TEI | {"normalize": {"a": 1}}, "normalize", "normalize is an object: pass true or false."),
        (
            OpenAIBody,
            OPENAI | {"encoding_format": 8},
            "encoding_format",
            "encoding_format is 8: pass float or base64.",
        ),
        (
            TEIBody,
            TEI | {"truncation_direction": 1},
            "truncation_direction",
            "truncation_direction is 1: pass right.",
        ),
        (OpenAIBody, OPENAI | {"dimensions": 4.0}, "dimensions", "dimensions 4.0 is not among the trained"),
        (
            OpenAIBody,
            OPENAI | {"sid": "query", "task": 1},
            "sid",
            "'sid' is not a field of this request",
        ),
    ],
)
def test_what_is_wrong_is_a_sentence_that_names_the_field(schema, body, field, sentence, context):
    with pytest.raises(RequestError) as refused:
        read_request(schema, body, context)
    assert (refused.value.status, refused.value.field) == (422, field)
    assert refused.value.sentence.startswith(sentence)


def test_a_list_of_too_many_texts_is_refused_before_they_are_validated_one_by_one(context):
    with pytest.raises(
        RequestError, match="input holds 100000 texts; this server takes 3 a request"
    ) as error:
        read_request(OpenAIBody, OPENAI | {"input": [""] * 100_000}, context)
    assert (error.value.status, error.value.field) == (413, "input")


def test_every_float32_comes_back_exactly():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    assert np.array_equal(np.float32(json.loads(as_list(numbers))), numbers)
