"""A text without tokens at every door: none lets the prompt's own vector out."""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode

from codequarry.inference.encoder import Encoder
from codequarry.inference.task_embedder import TaskEmbedder
from codequarry.inference.vector_cache import Speed, StoredVectors
from codequarry.integrations.handler import EndpointHandler
from codequarry.integrations.langchain import CodequarryEmbeddings
from codequarry.integrations.llama_index import CodequarryEmbedding
from codequarry.integrations.mteb import MtebEncoder
from codequarry.search.query import search

SILENT = ["", " \n", "\0", "\ufeff", "\u200b\u2060", "\u0301", "\u200b\n"]


@pytest.fixture(scope="module")
def handler(mini: Any, tmp_path_factory: pytest.TempPathFactory) -> EndpointHandler:
    folder = tmp_path_factory.mktemp("release")
    mini.save(str(folder))
    return EndpointHandler(str(folder))


def mteb_texts(model: Any, texts: list[str], **options: Any) -> Any:
    encoder = MtebEncoder(model, **options)
    metadata: Any = SimpleNamespace(name="CosQA")
    return encoder.encode([{"text": texts}], task_metadata=metadata, hf_split="test", hf_subset="default")


@pytest.fixture
def doors(mini: Any, handler: EndpointHandler, tmp_path: Path) -> dict[str, Callable[[str], Any]]:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").write_text("def f(a):\n    return a\n")
    encoder = Encoder(mini)
    look = partial(search, root=tmp_path / "code", model=mini, cache=tmp_path / "cache", progress=False)
    ask = {"task": "qa", "side": "query"}
    llama = CodequarryEmbedding(mini)
    return {
        "encode": lambda text: mini.encode(["a", text], "qa_query"),
        "one text": lambda text: mini.encode(text, "qa_query"),
        "encode_query": lambda text: mini.encode_query(["a", text], task="qa"),
        "encode_document": lambda text: mini.encode_document(["a", text]),
        "without a prompt": lambda text: mini.encode(["a", text], prompt=""),
        "preprocess": lambda text: mini.preprocess(["a", text], task="qa_query"),
        "Encoder": lambda text: encoder.encode(["a", text], "find: "),
        "Encoder's query": lambda text: encoder.encode_query(text, "qa", encoder.space("qa")),
        "TaskEmbedder's query": lambda text: TaskEmbedder(mini).query(text),
        "TaskEmbedder's documents": lambda text: TaskEmbedder(mini).documents(["a", text], batch_size=1),
        "LangChain's query": lambda text: CodequarryEmbeddings(mini).embed_query(text),
        "LangChain's documents": lambda text: CodequarryEmbeddings(mini).embed_documents(["a", text]),
        "LlamaIndex's query": lambda text: llama.get_query_embedding(text),
        "LlamaIndex's text": lambda text: llama.get_text_embedding(text),
        "LlamaIndex's batch": lambda text: llama.get_text_embedding_batch(["a"] * 40 + [text]),
        "LlamaIndex's nodes": lambda text: llama([TextNode(text="a"), TextNode(text=text)]),
        "MTEB": lambda text: mteb_texts(mini, ["a", text]),
        "search": lambda text: look(text, task="qa"),
        "the Hub's handler": lambda text: handler({"inputs": ["a", text], "parameters": ask}),
    }


def test_no_door_lets_a_text_without_tokens_through(
    doors: dict[str, Callable[[str], Any]], tmp_path: Path
) -> None:
    for name, door in doors.items():
        for text in SILENT:
            with pytest.raises(ValueError, match=r"empty|gives this model no token|blank"):
                door(text)
        if name != "the Hub's handler":  # JSON may hold such a text: it is mended there
            with pytest.raises(ValueError, match=r"half a surrogate pair|is not UTF-8 at character 2"):
                door("x\ud83d")
    assert not (tmp_path / "cache").exists(), "a query is read before anything is indexed"


def test_the_place_of_an_empty_text_is_the_callers_before_anything_is_embedded(
    mini: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini, "forward", None)
    texts = ["x = 1"] * 100 + ["\ufeff"] + ["y"] * 10 + [""]
    for call in (
        lambda: TaskEmbedder(mini).documents(texts, batch_size=4),
        lambda: CodequarryEmbeddings(mini, batch_size=4).embed_documents(texts),
        lambda: CodequarryEmbedding(mini, embed_batch_size=4).get_text_embedding_batch(texts),
        lambda: CodequarryEmbedding(mini, embed_batch_size=4)([TextNode(text=text) for text in texts]),
    ):
        with pytest.raises(
            ValueError, match=r"text 101 of 112 is empty \('\\ufeff' .*and 1 more.*empty='zero'"
        ):
            call()


@pytest.fixture
def texts() -> list[str]:
    return ["a = 1", "", "b = 2", "\u200b", "c = 3"]


def without_empty(found: Any, expected: Any, nothing: Any) -> None:
    """Rows 0, 2 and 4 as without the two empty texts, and `nothing` between them."""
    assert len(found) == 5
    np.testing.assert_allclose([found[row] for row in (0, 2, 4)], expected, atol=1e-6)
    for row in (1, 3):
        assert (found[row] is None) if nothing is None else not np.any(found[row])


def test_zero_keeps_a_pipeline_of_thousands_going(mini: Any, texts: list[str]) -> None:
    expected = mini.encode_document(texts[::2], truncate_dim=64)
    how: dict[str, Any] = {"dims": 64, "empty": "zero"}
    without_empty(TaskEmbedder(mini, **how).documents(texts, batch_size=2), expected, 0)
    without_empty(CodequarryEmbeddings(mini, **how).embed_documents(texts), expected, 0)
    without_empty(CodequarryEmbedding(mini, **how).get_text_embedding_batch(texts), expected, 0)
    nodes = CodequarryEmbedding(mini, **how)([TextNode(text=text) for text in texts])
    without_empty([node.embedding for node in nodes], expected, 0)
    for query in ("", "\0"):
        assert TaskEmbedder(mini, **how).query(query) == [0.0] * 64
        assert CodequarryEmbeddings(mini, **how).embed_query(query) == [0.0] * 64
        assert CodequarryEmbedding(mini, **how).get_query_embedding(query) == [0.0] * 64
    prompt = mini.prompt_family.prefix("nl2code", "document")
    without_empty(Encoder(mini).encode(texts, prompt, dims=64, empty="zero"), expected, 0)
    assert Encoder(mini).encode(["", "\0"], prompt, dims=64, empty="zero").shape == (2, 64)
    queries = mini.encode_query(texts[::2], task="nl2code")
    without_empty(mteb_texts(mini, texts, empty="zero"), queries, 0)


def test_skip_leaves_a_text_out_and_keeps_the_places_of_the_others(mini: Any, texts: list[str]) -> None:
    expected = mini.encode_document(texts[::2])
    without_empty(TaskEmbedder(mini, empty="skip").documents(texts, batch_size=2), expected, None)
    without_empty(CodequarryEmbeddings(mini, empty="skip").embed_documents(texts), expected, None)
    embedding = CodequarryEmbedding(mini, empty="skip")
    nodes = [TextNode(text=text, id_=str(place)) for place, text in enumerate(texts)]
    with pytest.warns(UserWarning, match="2 of 5 nodes are left out.*: 1, 3"):
        kept = IngestionPipeline(transformations=[embedding]).run(nodes=nodes)
    assert [node.node_id for node in kept] == ["0", "2", "4"]
    np.testing.assert_allclose([node.embedding for node in kept], expected, atol=1e-6)
    with pytest.raises(ValueError, match="here one vector a text is due"):
        embedding.get_text_embedding_batch(texts)
    with pytest.raises(ValueError, match="text 1 of 1 is empty"):
        CodequarryEmbeddings(mini, empty="skip").embed_query("")


def test_another_word_for_it_is_refused(mini: Any) -> None:
    with pytest.raises(ValueError, match=r"empty='ignore' is none of .* refuse, skip, zero"):
        CodequarryEmbeddings(mini, empty="ignore")  # type: ignore[arg-type]


def test_a_document_without_tokens_answers_no_search(mini: Any, texts: list[str]) -> None:
    encoder = Encoder(mini)
    space = encoder.space("nl2code")
    without_empty(encoder.encode_documents(texts, space), encoder.encode_documents(texts[::2], space), 0)
    assert encoder.encode_documents(["", "\0"], space).shape == (2, 384)


def test_a_stored_vector_of_a_text_without_tokens_is_zero_also_where_an_older_version_kept_one(
    mini: Any, texts: list[str], tmp_path: Path
) -> None:
    stored = StoredVectors(mini, tmp_path, label="mini", fingerprint="x", compute="fp32", progress=False)
    expected = mini.encode(texts[::2], prompt="find: ")
    without_empty(stored.embed(texts, "find: "), expected, 0)
    names = [sha256(text.encode()).hexdigest() for text in ("", "\u200b")]
    stored._take("find: ", names, np.ones((2, 384), dtype=np.float32), Speed(2, 2, 1.0))
    without_empty(stored.embed(texts, "find: "), expected, 0)
