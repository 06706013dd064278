"""The clients that people have, against a socket: huggingface_hub's, OpenAI's, and a browser's form."""

import urllib.error
import urllib.request

import numpy as np
import pytest

from codequarry.integrations.serve.requests import Limits
from codequarry.modules.tasks import CODE

PROMPTS = CODE.prompts()
TEXTS = ["parse a date", "line one\n    line two"]


def rows(encoder, prompt, texts, dims=8):
    vectors = np.stack([encoder.vector(prompt + text) for text in texts])[:, :dims]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def hugging_face(monkeypatch):
    # Tests run offline; this host is not the Hub.
    from huggingface_hub import InferenceClient, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    from huggingface_hub.utils import close_session

    close_session()
    yield InferenceClient
    close_session()


@pytest.mark.parametrize("path", ["", "/", "/embed"])
@pytest.mark.parametrize("how", ["model", "base_url", "argument"])
def test_huggingface_hub_gets_vectors(listening, encoder, hugging_face, path, how):
    address = listening().url + path
    client = hugging_face() if how == "argument" else hugging_face(**{how: address})
    more = {"model": address} if how == "argument" else {}
    found = client.feature_extraction(TEXTS[0], prompt_name="nl2code_query", **more)
    np.testing.assert_allclose(found, rows(encoder, PROMPTS["nl2code_query"], TEXTS[:1]), atol=1e-6)
    found = client.feature_extraction(
        TEXTS, prompt_name="qa_document", normalize=True, truncate=True, truncation_direction="right",
        dimensions=4, encoding_format="float", **more,
    )  # fmt: skip
    np.testing.assert_allclose(found, rows(encoder, PROMPTS["qa_document"], TEXTS, 4), atol=1e-6)


@pytest.mark.parametrize("path", ["", "/similarity"])
def test_huggingface_hub_gets_similarities(listening, encoder, hugging_face, path):
    found = hugging_face(model=listening().url + path).sentence_similarity(TEXTS[0], TEXTS)
    query, documents = rows(encoder, PROMPTS["query"], TEXTS[:1]), rows(encoder, PROMPTS["document"], TEXTS)
    np.testing.assert_allclose(found, documents @ query[0], atol=1e-6)


def test_huggingface_hub_shows_the_sentence_of_an_error(listening, hugging_face):
    from huggingface_hub.errors import HfHubHTTPError

    with pytest.raises(HfHubHTTPError, match="no prompt was named") as refused:
        hugging_face(model=listening().url).feature_extraction(TEXTS[0])
    assert refused.value.response.status_code == 422


def test_huggingface_hub_shows_its_key(listening, hugging_face):
    url = listening(key="a-key").url
    found = hugging_face(model=url, token="a-key").feature_extraction("a", prompt_name="query")
    assert found.shape == (1, 8)


def test_openai_gets_vectors_and_models(listening, encoder):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{listening(key='a-key').url}/v1", api_key="a-key", max_retries=0)
    expected = rows(encoder, PROMPTS["nl2code_query"], TEXTS)
    more = [{"task": "nl2code", "side": "query"}, {"prompt_name": "nl2code_query"}]
    more += [{"input_type": "query"}, {"task": "nl2code", "input_type": "query"}]
    for extra in more:
        found = client.embeddings.create(model="tiny", input=TEXTS, extra_body=extra)
        np.testing.assert_allclose([row.embedding for row in found.data], expected, atol=1e-6)
    found = client.embeddings.create(model="tiny:nl2code_query", input=TEXTS, encoding_format="float")
    np.testing.assert_allclose([row.embedding for row in found.data], expected, atol=1e-6)
    names = [model.id for model in client.models.list()]
    assert [client.models.retrieve(name).id for name in names] == names
    with pytest.raises(openai.NotFoundError, match="'gpt-4' is not here") as lost:
        client.models.retrieve("gpt-4")
    assert (lost.value.code, lost.value.type) == ("model_not_found", "invalid_request_error")
    with pytest.raises(openai.UnprocessableEntityError, match="text 2 of 2 is empty") as refused:
        client.embeddings.create(model="tiny:query", input=["a", ""])
    assert refused.value.param == "input"


def test_openai_finds_a_model_whose_name_has_a_slash(listening, served):
    openai = pytest.importorskip("openai")
    object.__setattr__(served, "name", "owner/tiny")  # the fixture's own object
    client = openai.OpenAI(base_url=f"{listening().url}/v1", api_key="unused", max_retries=0)
    for name in ("owner/tiny", "owner/tiny:qa_query"):
        assert client.models.retrieve(name).id == name


def test_a_form_of_another_site_is_not_read(listening, encoder):
    here = listening(limits=Limits())
    done = len(encoder.batches)
    form = b'{"inputs": "a", "prompt_name": "query", "x": "=1"}'  # what a form of type text/plain sends
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        request = urllib.request.Request(
            f"{here.url}/embed", form, {"Content-Type": kind, "Origin": "http://evil.example"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 415
        refused.value.close()
    assert len(encoder.batches) == done
