import asyncio
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="pip install 'codequarry[langchain]'")
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.embeddings import Embeddings
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore

from codequarry.integrations.langchain import CodequarryEmbeddings


@pytest.mark.parametrize("task", ["nl2code", "code2nl"])
def test_langchain_gets_the_vectors_of_the_model_on_both_sides(
    model: Any, task: str, texts: list[str]
) -> None:
    embeddings = CodequarryEmbeddings(model, task=task, batch_size=2)
    assert isinstance(embeddings, Embeddings)
    documents = model.encode_document(texts, task=task)
    np.testing.assert_allclose(embeddings.embed_documents(texts), documents, atol=1e-6)
    for text, query in zip(texts, model.encode_query(texts, task=task), strict=True):
        np.testing.assert_allclose(embeddings.embed_query(text), query, atol=1e-6)


def test_the_async_calls_give_the_same_vectors(decoder: Any, texts: list[str]) -> None:
    embeddings = CodequarryEmbeddings(decoder, dims=32)

    async def both() -> tuple[Any, Any]:
        return await asyncio.gather(embeddings.aembed_query(texts[0]), embeddings.aembed_documents(texts))

    query, documents = asyncio.run(both())
    np.testing.assert_allclose(query, embeddings.embed_query(texts[0]), atol=1e-6)
    np.testing.assert_allclose(documents, embeddings.embed_documents(texts), atol=1e-6)


def test_the_event_loop_goes_on_while_a_text_is_embedded(
    decoder: Any, ticks_while: Callable[..., int]
) -> None:
    embeddings = CodequarryEmbeddings(decoder)
    assert ticks_while("encode", lambda: embeddings.aembed_query("a question")) >= 5


def test_a_vector_store_asks_with_the_query_side_and_keeps_the_document_side(
    decoder: Any, texts: list[str]
) -> None:
    embeddings = CodequarryEmbeddings(decoder, task="qa")
    store = InMemoryVectorStore.from_texts(texts, embeddings)
    scores = decoder.encode_document(texts, task="qa") @ decoder.encode_query(["add?"], task="qa")[0]
    found = store.similarity_search_with_score("add?", k=len(texts))
    assert [document.page_content for document, _ in found] == [texts[row] for row in np.argsort(-scores)]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1], atol=1e-6)


def test_no_documents_are_no_vectors(decoder: Any) -> None:
    assert CodequarryEmbeddings(decoder).embed_documents([]) == []


def test_it_can_be_sent_to_another_process(decoder: Any) -> None:
    embeddings = CodequarryEmbeddings(decoder, task="code2nl", batch_size=7)
    again = pickle.loads(pickle.dumps(embeddings))
    assert again.batch_size == 7
    np.testing.assert_allclose(again.embed_query("x"), embeddings.embed_query("x"), atol=1e-6)


def cached(embeddings: CodequarryEmbeddings, store: Any, queries: Any = False) -> CacheBackedEmbeddings:
    return CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        store,
        namespace=embeddings.namespace,
        query_embedding_cache=queries,
        key_encoder="sha256",
    )


def test_one_store_keeps_models_tasks_and_sizes_apart(mini: Any, decoder: Any) -> None:
    """code2code and nl2code have one prompt for documents: they too have a namespace each."""
    made = [
        CodequarryEmbeddings(model, task=task, dims=dims)
        for model in (mini, decoder)
        for task in ("nl2code", "qa", "code2code")
        for dims in (None, 32)
    ]
    store = InMemoryByteStore()
    for _ in range(2):  # computed, then read
        for embeddings in made:
            found = cached(embeddings, store).embed_documents(["parse a date"])
            np.testing.assert_allclose(found, embeddings.embed_documents(["parse a date"]), atol=1e-6)
    assert len(list(store.yield_keys())) == len(made) == len({one.namespace for one in made})


def test_a_cached_query_has_the_querys_vector_from_a_second_store(decoder: Any) -> None:
    embeddings, documents, queries = CodequarryEmbeddings(decoder), InMemoryByteStore(), InMemoryByteStore()
    both = cached(embeddings, documents, queries)
    both.embed_documents(["parse a date"])
    for _ in range(2):
        found = both.embed_query("parse a date")
        np.testing.assert_allclose(found, embeddings.embed_query("parse a date"), atol=1e-6)
    assert len(list(queries.yield_keys())) == 1
    both = cached(embeddings, documents, True)
    wrong = both.embed_query("parse a date")
    assert np.allclose(wrong, embeddings.embed_documents(["parse a date"])[0]), "the trap is gone: say so"


def test_a_namespace_is_of_the_weights_the_task_the_size_and_the_side(decoder: Any, mini: Any) -> None:
    embeddings = CodequarryEmbeddings(decoder, task="qa", dims=32)
    assert (embeddings.model, embeddings.task, embeddings.dims) == (decoder, "qa", 32)
    assert CodequarryEmbeddings(decoder).dims == 64
    for part in (decoder.fingerprint, "qa", "32", decoder.prompt_family.name):
        assert part in embeddings.namespace
    assert embeddings.namespace == CodequarryEmbeddings(decoder, task="qa", dims=32).namespace
    assert embeddings.namespace != embeddings.query_namespace
    for name in ("model", "task", "dims", "namespace"):
        with pytest.raises(AttributeError):
            setattr(embeddings, name, "qa")


def test_an_unknown_task_is_refused_with_the_list(decoder: Any) -> None:
    with pytest.raises(ValueError, match="The tasks are nl2code, qa, code2code, code2nl, code2completion"):
        CodequarryEmbeddings(decoder, task="search")


def test_without_langchain_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core.embeddings", None)
    monkeypatch.delitem(sys.modules, "codequarry.integrations.langchain")
    with pytest.raises(ImportError, match=r"pip install 'codequarry\[langchain\]'"):
        import codequarry.integrations.langchain  # noqa: F401
