import asyncio
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codequarry
from codequarry.modules.build import build_model

pytest.importorskip("langchain_core", reason="pip install 'codequarry[langchain]'")
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from codequarry.integrations.langchain import CodequarryEmbeddings

TEXTS = [
    "def add(a, b):\n\treturn a + b\r\n",
    "x = 1  # naïve 漢字",
    "total = sum(values)\n" * 80,
]


@pytest.fixture(scope="module", params=["mini", "decoder"])
def model(request: pytest.FixtureRequest, small_decoder: Path) -> Any:
    if request.param == "mini":
        return codequarry.load("mini", device="cpu")
    return build_model(str(small_decoder), max_length=64, dims=(64, 32))


@pytest.fixture(scope="module")
def decoder(small_decoder: Path) -> Any:
    return build_model(str(small_decoder), max_length=64, dims=(64, 32))


@pytest.mark.parametrize("task", ["nl2code", "code2nl"])
def test_langchain_gets_the_vectors_of_the_model_on_both_sides(model: Any, task: str) -> None:
    embeddings = CodequarryEmbeddings(model, task=task, batch_size=2)
    assert isinstance(embeddings, Embeddings)
    documents = model.encode_document(TEXTS, task=task)
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), documents, atol=1e-6)
    for text, query in zip(TEXTS, model.encode_query(TEXTS, task=task), strict=True):
        np.testing.assert_allclose(embeddings.embed_query(text), query, atol=1e-6)


def test_the_async_calls_give_the_same_vectors(decoder: Any) -> None:
    embeddings = CodequarryEmbeddings(decoder, dims=32)

    async def both() -> tuple[Any, Any]:
        return await asyncio.gather(embeddings.aembed_query(TEXTS[0]), embeddings.aembed_documents(TEXTS))

    query, documents = asyncio.run(both())
    np.testing.assert_allclose(query, embeddings.embed_query(TEXTS[0]), atol=1e-6)
    np.testing.assert_allclose(documents, embeddings.embed_documents(TEXTS), atol=1e-6)


def test_the_event_loop_goes_on_while_a_text_is_embedded(
    decoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = decoder.encode_query

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(0.5)
        return encode(*args, **options)

    monkeypatch.setattr(decoder, "encode_query", slow)

    async def ticks_meanwhile() -> int:
        embedding = asyncio.create_task(CodequarryEmbeddings(decoder).aembed_query("a question"))
        ticks = 0
        while not embedding.done():
            await asyncio.sleep(0.02)
            ticks += 1
        assert len(await embedding) == 64
        return ticks

    assert asyncio.run(ticks_meanwhile()) >= 5


def test_a_vector_store_asks_with_the_query_side_and_keeps_the_document_side(decoder: Any) -> None:
    embeddings = CodequarryEmbeddings(decoder, task="qa")
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    scores = decoder.encode_document(TEXTS, task="qa") @ decoder.encode_query(["add?"], task="qa")[0]
    found = store.similarity_search_with_score("add?", k=3)
    assert [document.page_content for document, _ in found] == [TEXTS[row] for row in np.argsort(-scores)]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1], atol=1e-6)


def test_no_documents_are_no_vectors(decoder: Any) -> None:
    assert CodequarryEmbeddings(decoder).embed_documents([]) == []


def test_it_can_be_sent_to_another_process(decoder: Any) -> None:
    embeddings = CodequarryEmbeddings(decoder, task="code2nl", batch_size=7)
    again = pickle.loads(pickle.dumps(embeddings))
    assert again.batch_size == 7
    np.testing.assert_allclose(again.embed_query("x"), embeddings.embed_query("x"), atol=1e-6)


def test_an_unknown_task_is_refused_with_the_list(decoder: Any) -> None:
    with pytest.raises(ValueError, match="The tasks are nl2code, qa, code2code, code2nl, code2completion"):
        CodequarryEmbeddings(decoder, task="search")


def test_without_langchain_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core.embeddings", None)
    monkeypatch.delitem(sys.modules, "codequarry.integrations.langchain")
    with pytest.raises(ImportError, match=r"pip install 'codequarry\[langchain\]'"):
        import codequarry.integrations.langchain  # noqa: F401
