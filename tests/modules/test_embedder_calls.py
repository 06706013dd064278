"""How the three methods that encode are called; the oracle is the stock class over the same folder."""

import inspect
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer

from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder

TEXTS = ["def add(a, b):\n    return a + b", "SELECT 1", "a much longer text " * 40]
METHODS = ["encode", "encode_query", "encode_document"]


@pytest.fixture(scope="module")
def model(small_decoder: Path) -> CodeEmbedder:
    return build_model(str(small_decoder), max_length=96, dims=(64, 32, 16), device="cpu")


@pytest.fixture(scope="module")
def stock(model: CodeEmbedder, tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    folder = tmp_path_factory.mktemp("stock")
    model.save(str(folder))
    return SentenceTransformer(str(folder), device="cpu")


def same(one: Any, other: Any) -> None:
    """Equal to the last bit, and of one type, device included."""
    assert type(one) is type(other)
    if isinstance(one, list):
        assert len(one) == len(other)
        for here, there in zip(one, other, strict=True):
            same(here, there)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in ("sentence_embedding", "token_embeddings", "input_ids"):
            same(one[name], other[name])
    elif isinstance(one, torch.Tensor):
        assert (one.dtype, one.device) == (other.dtype, other.device)
        assert torch.equal(one, other)
    else:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


CALLS: dict[str, Callable[[Any], Any]] = {
    "a list": lambda call: call(TEXTS),
    "one text": lambda call: call(TEXTS[0]),
    "the name": lambda call: call(inputs=TEXTS),
    "the name of before": lambda call: call(sentences=TEXTS),
    "both names": lambda call: call(inputs=TEXTS, sentences=["y"]),
    "prompt name in second place": lambda call: call(TEXTS, "qa_query"),
    "prompt in third place": lambda call: call(TEXTS, None, "find: "),
    "an empty prompt in third place": lambda call: call(TEXTS, None, ""),
    "batch size in fourth place": lambda call: call(TEXTS, "qa_query", None, 1),
    "every place": lambda call: call(
        TEXTS, "qa_query", None, 2, False, "sentence_embedding", "float32", True, False, "cpu", True,
        None, None, None,
    ),
    "a prompt before its name": lambda call: call(TEXTS, "qa_query", "find: "),
    "a tuple": lambda call: call(tuple(TEXTS), "qa_query"),
    "an array": lambda call: call(np.array(TEXTS), "qa_query"),
    "an array of objects": lambda call: call(np.array(TEXTS, dtype=object), "qa_query"),
    "numpy's strings": lambda call: call([np.str_(text) for text in TEXTS], "qa_query"),
    "one of numpy's strings": lambda call: call(np.str_(TEXTS[0]), "qa_query"),
    "a tensor": lambda call: call(TEXTS, "qa_query", convert_to_tensor=True),
    "one tensor": lambda call: call(TEXTS[0], "qa_query", convert_to_tensor=True),
    "a list of tensors": lambda call: call(TEXTS, "qa_query", convert_to_numpy=False),
    "tokens": lambda call: call(TEXTS, "qa_query", output_value="token_embeddings"),
    "tokens of one": lambda call: call(TEXTS[0], "qa_query", output_value="token_embeddings"),
    "everything": lambda call: call(TEXTS, "qa_query", output_value=None),
    "everything in sixth place": lambda call: call(TEXTS, "qa_query", None, 32, False, None),
    "everything of one": lambda call: call(TEXTS[0], "qa_query", output_value=None),
    "int8": lambda call: call(TEXTS, "qa_query", precision="int8"),
    "ubinary": lambda call: call(TEXTS, "qa_query", precision="ubinary"),
    "a length for this call": lambda call: call(
        TEXTS, "qa_query", processing_kwargs={"text": {"max_length": 40}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_means_what_it_means_to_the_parent(
    model: CodeEmbedder, stock: SentenceTransformer, method: str, call: Callable[[Any], Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(call(getattr(model, method)), call(getattr(stock, method)))


@pytest.mark.parametrize("side", METHODS[1:])
def test_what_reaches_encode_is_what_the_parents_sides_send_it(
    model: CodeEmbedder, stock: SentenceTransformer, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    for either in (model, stock):
        monkeypatch.setattr(either, "encode", lambda *args, **kwargs: sent.append(kwargs | {"args": args}))
    choices = product(
        ("inputs", "sentences"), (TEXTS, TEXTS[0]), (None, "qa_query"), (None, "", "find: "), (True, False),
        (True, False), ("float32", "int8"), (None, 32), (None, ["cpu"]),
    )  # fmt: skip
    for name, texts, prompt_name, prompt, numpy, tensor, precision, dims, device in choices:
        arguments = {
            name: texts, "prompt_name": prompt_name, "prompt": prompt, "convert_to_numpy": numpy,
            "convert_to_tensor": tensor, "precision": precision, "truncate_dim": dims, "device": device,
        }  # fmt: skip
        getattr(model, side)(**arguments)
        getattr(stock, side)(**arguments)
        assert sent[-2] == sent[-1]
    assert len(sent) == 2 * 2**7 * 3 * 2


WRONG: dict[str, Callable[[Any], Any]] = {
    "no texts": lambda call: call(),
    "texts twice": lambda call: call(TEXTS, inputs=TEXTS),
    "too many places": lambda call: call(*range(20)),
    "an unknown keyword": lambda call: call(TEXTS, "qa_query", batchsize=3),
    "an unknown prompt": lambda call: call(TEXTS, "qa_qeury"),
    "an unknown prompt of no texts": lambda call: call([], "qa_qeury"),
    "a batch of none": lambda call: call(TEXTS, "qa_query", batch_size=0),
    "an unknown precision": lambda call: call(TEXTS, "qa_query", precision="int4"),
    "chunks of none": lambda call: call(TEXTS, "qa_query", pool={}, chunk_size=0),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_what_the_parent_refuses_is_refused_in_its_own_way(
    model: CodeEmbedder, stock: SentenceTransformer, method: str, call: Callable[[Any], Any]
) -> None:
    with pytest.raises((TypeError, ValueError)) as expected:
        call(getattr(stock, method))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(expected.type):
            call(getattr(model, method))


@pytest.mark.parametrize("method", METHODS)
def test_the_signature_is_the_parents_with_the_task_behind_it(method: str) -> None:
    ours = inspect.signature(getattr(CodeEmbedder, method)).parameters
    stock = inspect.signature(getattr(SentenceTransformer, method)).parameters
    assert {name: ours[name] for name in stock} == dict(stock)
    assert set(ours) - set(stock) == {"task"}


@pytest.mark.parametrize(
    "texts",
    [
        pd.Series(TEXTS, index=[7, 7, 1]), pd.Series(TEXTS, dtype="string"), pd.Index(TEXTS),
        dict.fromkeys(TEXTS).keys(),
    ],
    ids=["column", "column of strings", "index", "keys"],
)  # fmt: skip
def test_what_holds_texts_is_embedded_as_the_list_of_them(model: CodeEmbedder, texts: Any) -> None:
    same(model.encode_query(texts, task="qa"), model.encode_query(TEXTS, task="qa"))
    same(model.encode_query(iter(TEXTS), task="qa"), model.encode_query(TEXTS, task="qa"))


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_task_stands_beside_every_other_argument_but_a_prompt(model: CodeEmbedder, method: str) -> None:
    call = getattr(model, method)
    expected = call(TEXTS, task="qa")
    same(call(TEXTS, None, None, 1, task="qa"), call(TEXTS, batch_size=1, task="qa"))
    same(call(sentences=TEXTS, task="qa"), expected)
    same(call(TEXTS, None, None, 32, False, "sentence_embedding", task="qa"), expected)
    for prompt in (("qa_query",), (None, "find: "), (None, "")):
        with pytest.raises(ValueError, match="and a prompt were both given"):
            call(TEXTS, *prompt, task="qa")


def warned(call: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    assert all(one.filename == __file__ for one in found), "a warning points at the line that called"
    return [str(one.message) for one in found if "leaves the instruction prefix out" in str(one.message)]


def test_leaving_the_prompt_out_warns_however_it_is_left_out(model: CodeEmbedder) -> None:
    assert warned(lambda: model.encode(TEXTS))
    assert warned(lambda: model.encode(TEXTS, None))
    assert warned(lambda: model.encode(TEXTS, None, None, 8))
    assert warned(lambda: model.encode(sentences=TEXTS, prompt=None, prompt_name=None))


def test_naming_a_prompt_warns_nowhere(model: CodeEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not warned(lambda: model.encode(TEXTS, "qa_query"))
    assert not warned(lambda: model.encode(TEXTS, None, ""))
    assert not warned(lambda: model.encode(TEXTS, prompt="find: "))
    for call in (model.encode_query, model.encode_document):
        assert not warned(lambda call=call: (call(TEXTS), call(TEXTS, None), call(TEXTS, task="qa")))  # type: ignore[misc]
    monkeypatch.setattr(model, "default_prompt_name", "qa_query")
    assert not warned(lambda: model.encode(TEXTS))
    same(model.encode(TEXTS), model.encode(TEXTS, "qa_query"))


def test_a_model_without_prompts_has_none_to_leave_out(
    model: CodeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "default_prompt_name", "gone")
    assert warned(lambda: model.encode(TEXTS)), "the default's prompt is not there"
    monkeypatch.setattr(model, "prompts", {"query": "", "document": ""})
    assert not warned(lambda: (model.encode(TEXTS), model.encode_query(TEXTS), model.encode_document(TEXTS)))


NOT_DIMS = [0, -1, 1, 48, 65, 64.0, 32.5, True, np.True_, np.float32(32), "32", float("nan")]


@pytest.mark.parametrize("dims", NOT_DIMS, ids=repr)
@pytest.mark.parametrize("method", METHODS)
def test_a_dimension_that_is_none_of_the_trained_ones_is_refused_everywhere(
    model: CodeEmbedder, method: str, dims: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = getattr(model, method)
    places = ("qa_query", None, 32, False, "sentence_embedding", "float32", True, False, None, False, dims)
    refused = pytest.raises(
        ValueError, match=r"embedding dim .* (is not among the trained dims|pass a whole)"
    )
    with refused:
        call(TEXTS, prompt_name="qa_query", truncate_dim=dims)
    with refused:
        call(TEXTS, *places)
    with refused:
        call([], "qa_query", truncate_dim=dims)
    with refused:
        model.check_dims(dims)
    with refused, model.truncate_embeddings(dims):
        call(TEXTS, "qa_query")


@pytest.mark.parametrize("dims", [10, 0])
def test_a_model_that_was_not_trained_for_sizes_has_its_own_only(small_decoder: Path, dims: int) -> None:
    """The parent's own dimension follows truncate_dim, so that any value of it seemed to be the model's."""
    model = build_model(str(small_decoder), max_length=96, device="cpu")
    model.truncate_dim = dims
    with pytest.raises(ValueError, match=r"is not among the trained dims \(64,\)"):
        model.encode_query(TEXTS)


@pytest.mark.parametrize("dims", [64, 32, np.int64(16)])
def test_every_output_of_a_sentence_has_length_one_at_every_size(model: CodeEmbedder, dims: Any) -> None:
    def lengths(found: Any) -> Any:
        return np.linalg.norm(np.stack([np.asarray(row) for row in found]), axis=-1)

    how: dict[str, Any] = {"task": "qa", "truncate_dim": dims}
    outputs = [
        model.encode_query(TEXTS, **how),
        model.encode_query(TEXTS, normalize_embeddings=False, **how),
        model.encode_query(TEXTS, convert_to_tensor=True, **how),
        model.encode_query(TEXTS, convert_to_numpy=False, **how),
        [row["sentence_embedding"] for row in model.encode_query(TEXTS, output_value=None, **how)],
        [model.encode_query(TEXTS[0], output_value=None, **how)["sentence_embedding"]],
        [model.encode_query(TEXTS[0], **how)],
    ]
    for found in outputs:
        assert len(found[0]) == dims
        np.testing.assert_allclose(lengths(found), 1, atol=1e-6)
    tokens = model.encode_query(TEXTS, output_value="token_embeddings", **how)
    same(tokens, model.encode_query(TEXTS, output_value="token_embeddings", task="qa"))


NONE = [[], (), np.array([]), np.array([], dtype=str), pd.Series([], dtype=object), iter(())]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("none", NONE, ids=lambda none: type(none).__name__)
def test_the_vectors_of_no_texts_have_columns(model: CodeEmbedder, method: str, none: Any) -> None:
    call = getattr(model, method)
    found = call(none, "qa_query")
    assert (found.shape, found.dtype) == ((0, 64), np.float32)
    assert call([], "qa_query", truncate_dim=32).shape == (0, 32)
    np.concatenate([found, call(TEXTS, "qa_query")])


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_no_texts_give_the_columns_and_the_type_of_some(model: CodeEmbedder, precision: Any) -> None:
    for tensor in (False, True):
        how: dict[str, Any] = {"prompt_name": "qa_query", "precision": precision, "convert_to_tensor": tensor}
        none, some = model.encode([], **how), model.encode(TEXTS, **how)
        assert type(none) is type(some)
        assert (none.dtype, tuple(none.shape)) == (some.dtype, (0, some.shape[1]))
    assert model.encode([], "qa_query", convert_to_numpy=False) == []
    assert model.encode([], "qa_query", output_value="token_embeddings") == []
    assert model.encode([], "qa_query", output_value=None) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_text_that_is_none_is_named_by_its_place_before_anything_is_embedded(
    model: CodeEmbedder, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent sorts texts by length before it reads them, so a place in a batch is not the caller's."""
    monkeypatch.setattr(model, "forward", None)
    texts = ["a", *(["a longer text"] * 40), " \n", "b", ""]
    call = getattr(model, method)
    with pytest.raises(ValueError, match=r"text 42 of 44 is empty.*and 1 more"):
        call(texts, "qa_query")
    with pytest.raises(ValueError, match="text 3 of 3 has half a surrogate pair at character 2"):
        call(["a", "b", "x\ud83d"], "qa_query")
    with pytest.raises(ValueError, match="text 1 of 1 has half a surrogate pair"):
        call("x\udce9", "qa_query")
    for wrong, kind in (
        (("a", "b"), "tuple"),
        ({"text": "a"}, "dict"),
        (1, "int"),
        (None, "NoneType"),
        (b"a", "bytes"),
    ):
        with pytest.raises(ValueError, match=f"text 2 of 2 is {kind}, not a string"):
            call(["a", wrong], "qa_query")


@pytest.mark.exhaustive
def test_a_pool_of_processes_gives_the_vectors_of_one(model: CodeEmbedder) -> None:
    texts, expected = TEXTS * 2, model.encode_query(TEXTS * 2, task="qa", truncate_dim=32)
    pool = model.start_multi_process_pool(["cpu"])
    try:
        found = model.encode_query(texts, task="qa", truncate_dim=32, pool=pool, chunk_size=2)
        rows = model.encode_query(texts, task="qa", truncate_dim=32, pool=pool, output_value=None)
    finally:
        model.stop_multi_process_pool(pool)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(np.stack([row["sentence_embedding"] for row in rows]), expected, atol=1e-6)
