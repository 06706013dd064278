import asyncio
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="pip install 'codequarry[llama-index]'")
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from codequarry.integrations.llama_index import CodequarryEmbedding


@pytest.mark.parametrize("task", ["nl2code", "code2nl"])
def test_llama_index_gets_the_vectors_of_the_model_on_both_sides(
    model: Any, task: str, texts: list[str]
) -> None:
    embedding = CodequarryEmbedding(model, task=task, embed_batch_size=2)
    assert isinstance(embedding, BaseEmbedding)
    documents = model.encode_document(texts, task=task)
    np.testing.assert_allclose(embedding.get_text_embedding_batch(texts), documents, atol=1e-6)
    queries = model.encode_query(texts, task=task)
    for text, query, document in zip(texts, queries, documents, strict=True):
        np.testing.assert_allclose(embedding.get_query_embedding(text), query, atol=1e-6)
        np.testing.assert_allclose(embedding.get_text_embedding(text), document, atol=1e-6)


def test_the_async_calls_give_the_same_vectors(decoder: Any, texts: list[str]) -> None:
    embedding = CodequarryEmbedding(decoder, dims=32, embed_batch_size=1)

    async def every_call() -> Any:
        return await asyncio.gather(
            embedding.aget_query_embedding(texts[0]),
            embedding.aget_text_embedding(texts[0]),
            embedding.aget_text_embedding_batch(texts),
        )

    query, text, batch = asyncio.run(every_call())
    np.testing.assert_allclose(query, embedding.get_query_embedding(texts[0]), atol=1e-6)
    np.testing.assert_allclose(text, embedding.get_text_embedding(texts[0]), atol=1e-6)
    np.testing.assert_allclose(batch, embedding.get_text_embedding_batch(texts), atol=1e-6)


@pytest.mark.parametrize("call", ["aget_query_embedding", "aget_text_embedding", "aget_text_embedding_batch"])
def test_the_event_loop_goes_on_while_a_text_is_embedded(
    decoder: Any, ticks_while: Callable[..., int], call: str
) -> None:
    asked = ["a text"] if call.endswith("batch") else "a text"
    embed = getattr(CodequarryEmbedding(decoder), call)
    assert ticks_while("encode", lambda: embed(asked)) >= 5


def test_a_batch_goes_through_the_model_together(decoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, sizes = decoder.encode, []

    def counted(texts: list[str], **options: Any) -> Any:
        sizes.append(len(texts))
        return encode(texts, **options)

    monkeypatch.setattr(decoder, "encode", counted)
    CodequarryEmbedding(decoder, embed_batch_size=4).get_text_embedding_batch(["x = 1"] * 10)
    assert sizes == [4, 4, 2]


def test_progress_is_one_bar(decoder: Any, capfd: pytest.CaptureFixture[str], texts: list[str]) -> None:
    CodequarryEmbedding(decoder).get_text_embedding_batch(texts, show_progress=True)
    shown = capfd.readouterr().err
    assert "Generating embeddings" in shown
    assert "embedding:" not in shown


def test_an_index_asks_with_the_query_side_and_keeps_the_document_side(
    decoder: Any, texts: list[str]
) -> None:
    embedding = CodequarryEmbedding(decoder, task="qa")
    index = VectorStoreIndex([TextNode(text=text) for text in texts], embed_model=embedding)
    scores = decoder.encode_document(texts, task="qa") @ decoder.encode_query(["add?"], task="qa")[0]
    found = index.as_retriever(similarity_top_k=len(texts)).retrieve("add?")
    assert [node.node.get_content() for node in found] == [texts[row] for row in np.argsort(-scores)]
    np.testing.assert_allclose([node.score for node in found], np.sort(scores)[::-1], atol=1e-6)


def test_a_dictionary_holds_what_decides_a_vector_and_is_loaded_again() -> None:
    embedding = CodequarryEmbedding("mini", task="code2code", dims=128, device="cpu", embed_batch_size=5)
    kept = embedding.to_dict()
    assert {
        name: kept[name] for name in ("model_name", "task", "dims", "embed_batch_size", "class_name")
    } == {
        "model_name": "mini",
        "task": "code2code",
        "dims": 128,
        "embed_batch_size": 5,
        "class_name": "CodequarryEmbedding",
    }
    again = CodequarryEmbedding.from_dict(kept)
    sent = pickle.loads(pickle.dumps(embedding))
    for copy in (again, sent):
        assert copy.to_dict() == kept
        np.testing.assert_allclose(
            copy.get_query_embedding("x"), embedding.get_query_embedding("x"), atol=1e-6
        )


def test_a_loaded_model_is_known_by_its_weights_and_never_guessed_at(decoder: Any) -> None:
    embedding = CodequarryEmbedding(decoder, task="qa")
    assert embedding.model_name == f"a loaded model, {decoder.fingerprint[:16]}"
    with pytest.raises(ValueError, match="whose weights are not kept in a dictionary"):
        CodequarryEmbedding.from_dict(embedding.to_dict())
    sent = pickle.loads(pickle.dumps(embedding))
    assert (sent.model_name, sent.task) == (embedding.model_name, "qa")
    np.testing.assert_allclose(sent.get_query_embedding("x"), embedding.get_query_embedding("x"), atol=1e-6)


def test_an_ingestion_cache_tells_two_tasks_and_two_sizes_apart(decoder: Any) -> None:
    nodes = [TextNode(text="x = 1", id_="1")]
    made = [{"task": "qa"}, {"task": "nl2code"}, {"task": "qa", "dims": 32}]
    hashes = {get_transformation_hash(nodes, CodequarryEmbedding(decoder, **how)) for how in made}
    assert len(hashes) == 3


def test_the_cache_that_forgets_the_side_is_refused(decoder: Any) -> None:
    refused = pytest.raises(ValueError, match="embeddings_cache files a text under its words alone")
    with refused:
        CodequarryEmbedding(decoder, embeddings_cache=SimpleKVStore())
    embedding = CodequarryEmbedding(decoder)
    with refused:
        embedding.embeddings_cache = SimpleKVStore()
    with refused:
        embedding.model_copy(update={"embeddings_cache": SimpleKVStore()})
    assert embedding.embeddings_cache is None


CHANGES = [{"task": "qa"}, {"dims": 32}, {"task": "code2nl", "dims": 32}, {"dims": None}, {"empty": "zero"}]


def changed(embedding: CodequarryEmbedding, how: str, fields: dict[str, Any]) -> CodequarryEmbedding:
    if how == "set":
        for name, value in fields.items():
            setattr(embedding, name, value)
        return embedding
    if how == "copy":
        return embedding.model_copy(update=fields)
    return CodequarryEmbedding.from_dict(embedding.to_dict() | fields)


@pytest.mark.parametrize("how", ["set", "copy", "dictionary"])
@pytest.mark.parametrize("fields", CHANGES, ids=str)
def test_a_changed_field_is_obeyed_on_both_sides(mini: Any, how: str, fields: dict[str, Any]) -> None:
    made: dict[str, Any] = {"task": "nl2code", "dims": 64}
    embedding = changed(CodequarryEmbedding("mini", device="cpu", **made), how, fields)
    expected = CodequarryEmbedding(mini, **(made | fields))
    for ask in ("get_query_embedding", "get_text_embedding"):
        np.testing.assert_allclose(getattr(embedding, ask)("x"), getattr(expected, ask)("x"), atol=1e-6)
    names = ("task", "dims", "empty")
    assert [getattr(embedding, name) for name in names] == [getattr(expected, name) for name in names]
    assert embedding.to_dict()["model_name"] == "mini"


@pytest.mark.parametrize("how", ["set", "copy"])
@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("task", "search", "'search' is not a task"),
        ("dims", 48, "embedding dim 48 is not among"),
        ("dims", True, "pass a whole number"),
        ("empty", "ignore", "none of the ways"),
        ("device", "cuda", "the model is loaded already, on cpu"),
        ("model_name", "no/such/folder", "no/such/folder"),
    ],
)
def test_a_field_that_cannot_be_obeyed_is_refused_and_stays_as_it_was(
    decoder: Any, how: str, field: str, value: Any, sentence: str
) -> None:
    embedding = CodequarryEmbedding(decoder, task="qa")
    before = embedding.to_dict()
    with pytest.raises(ValueError, match=sentence):
        changed(embedding, how, {field: value})
    assert embedding.to_dict() == before
    np.testing.assert_allclose(
        embedding.get_query_embedding("x"), decoder.encode_query("x", task="qa"), atol=1e-6
    )


def test_a_copy_leaves_what_it_was_made_from_alone_and_shares_its_weights(decoder: Any) -> None:
    embedding = CodequarryEmbedding(decoder, task="qa")
    copied = embedding.model_copy(update={"task": "code2nl"})
    assert copied._current().model is decoder
    np.testing.assert_allclose(
        embedding.get_query_embedding("x"), decoder.encode_query("x", task="qa"), atol=1e-6
    )
    assert embedding.model_copy().task == "qa"


def test_another_models_name_loads_it(decoder: Any, mini: Any) -> None:
    embedding = CodequarryEmbedding(decoder, task="qa")
    embedding.model_name = "mini"
    np.testing.assert_allclose(
        embedding.get_query_embedding("x"), mini.encode_query("x", task="qa"), atol=1e-5
    )


def test_an_unknown_task_is_refused_with_the_list(decoder: Any) -> None:
    with pytest.raises(ValueError, match="The tasks are nl2code, qa, code2code, code2nl, code2completion"):
        CodequarryEmbedding(decoder, task="search")


def test_without_llama_index_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core.base.embeddings.base", None)
    monkeypatch.delitem(sys.modules, "codequarry.integrations.llama_index")
    with pytest.raises(ImportError, match=r"pip install 'codequarry\[llama-index\]'"):
        import codequarry.integrations.llama_index  # noqa: F401
