"""A static model in the adapters and in the server gives the loaded model's vectors."""

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import codequarry
from codequarry.inference.encoder import Encoder, served
from codequarry.integrations import handler as handler_source
from codequarry.integrations.langchain import CodequarryEmbeddings
from codequarry.integrations.llama_index import CodequarryEmbedding
from codequarry.integrations.serve.app import Service
from codequarry.integrations.serve.token_ids import TokenIds

TEXTS = ["parse a date", "def parseDate(text): ..."]


@pytest.fixture(scope="module")
def model(static_folder: Path) -> Any:
    return codequarry.load(str(static_folder), device="cpu")


def test_langchain_gives_the_models_vectors(model: Any) -> None:
    adapter = CodequarryEmbeddings(model, task="qa", dims=8)
    own = model.encode_document(TEXTS, task="qa", truncate_dim=8)
    assert np.abs(np.array(adapter.embed_documents(TEXTS)) - own).max() < 1e-6
    query = model.encode_query(TEXTS[:1], task="qa", truncate_dim=8)[0]
    assert np.abs(np.array(adapter.embed_query(TEXTS[0])) - query).max() < 1e-6


def test_llama_index_gives_the_models_vectors(model: Any) -> None:
    adapter = CodequarryEmbedding(model, task="qa")
    own = model.encode_document(TEXTS, task="qa")
    assert np.abs(np.array(adapter.get_text_embedding_batch(TEXTS)) - own).max() < 1e-6


def test_the_hubs_handler_gives_the_models_vectors_and_refuses_what_is_empty(
    static_folder: Path, model: Any
) -> None:
    spec = importlib.util.spec_from_file_location("handler", handler_source.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.EndpointHandler(str(static_folder))
    vectors = handler({"inputs": TEXTS, "parameters": {"task": "qa", "side": "query", "truncate": False}})
    assert np.abs(np.array(vectors) - model.encode_query(TEXTS, task="qa")).max() < 1e-6
    with pytest.raises(ValueError, match="is empty"):
        handler({"inputs": [" \n"], "parameters": {"task": "qa", "side": "query"}})


def test_the_server_gives_the_models_vectors_of_texts_of_any_length(model: Any) -> None:
    long = "value = read(text)\n" * 2000
    about = served(model, "static")
    assert about.max_tokens is None
    assert about.dims == (32, 16, 8)

    async def ask() -> Any:
        service = Service(Encoder(model), about, token_ids=TokenIds(model.tokenizer))
        async with service.app.router.lifespan_context(service.app):
            transport = httpx.ASGITransport(app=service.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                while (await client.get("/health")).status_code != 200:
                    await asyncio.sleep(0.001)
                body = {"inputs": [*TEXTS, long], "prompt_name": "qa_query", "truncate": False}
                return (await client.post("/embed", json=body)).json()

    found = np.array(asyncio.run(ask()))
    assert np.abs(found - model.encode_query([*TEXTS, long], task="qa")).max() < 1e-6
