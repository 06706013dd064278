import hashlib
import json
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Dense

import codequarry
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder, fingerprint, stock_view
from codequarry.modules.instruction_prefix import InstructionPrefix
from codequarry.modules.last_token_pooling import LastTokenPooling
from codequarry.modules.tasks import TASKS, prompt_name

TEXTS = ["def add(a, b):\n    return a + b", "SELECT 1", "a much longer text " * 40]


@pytest.fixture(scope="module")
def model(small_decoder: Path) -> CodeEmbedder:
    return build_model(str(small_decoder), max_length=96, dims=(64, 32, 16))


@pytest.mark.parametrize("task", TASKS)
def test_task_gives_what_the_prompt_name_gives_on_each_side(model: CodeEmbedder, task: str) -> None:
    stock_query = SentenceTransformer.encode(model, TEXTS, prompt_name=prompt_name(task, "query"))
    stock_document = SentenceTransformer.encode(model, TEXTS, prompt_name=prompt_name(task, "document"))
    assert np.array_equal(model.encode_query(TEXTS, task=task), stock_query)
    assert np.array_equal(model.encode_document(TEXTS, task=task), stock_document)
    assert not np.allclose(stock_query, stock_document)


def test_without_a_task_the_sides_are_those_of_nl2code(model: CodeEmbedder) -> None:
    assert np.array_equal(model.encode_query(TEXTS), model.encode_query(TEXTS, task="nl2code"))
    assert np.array_equal(model.encode_document(TEXTS), model.encode_document(TEXTS, task="nl2code"))


def test_a_task_without_a_side_is_refused_with_the_two_that_exist(model: CodeEmbedder) -> None:
    with pytest.raises(
        ValueError, match=r"encode_query\(texts, task='qa'\).*encode_document\(texts, task='qa'\)"
    ):
        model.encode(TEXTS, task="qa")
    with pytest.raises(ValueError, match="'garbage' is not a task"):
        model.encode(TEXTS, task="garbage")
    with pytest.raises(ValueError, match=r"'nl2cod' is not a task\. Did you mean 'nl2code'"):
        model.encode_query(TEXTS, task="nl2cod")


def test_a_task_beside_a_prompt_is_refused(model: CodeEmbedder) -> None:
    for both in ({"prompt_name": "qa_query"}, {"prompt": "query: "}):
        with pytest.raises(ValueError, match="and a prompt were both given"):
            model.encode_query(TEXTS, task="qa", **both)


def test_encode_without_a_prompt_warns_and_an_explicit_empty_one_does_not(model: CodeEmbedder) -> None:
    with pytest.warns(UserWarning, match="leaves the instruction prefix out"):
        model.encode(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(TEXTS, prompt="")
        model.encode_query(TEXTS)


@pytest.mark.parametrize("dims", [64, 32, 16])
def test_truncated_vectors_have_unit_length_and_point_where_the_full_ones_do(
    model: CodeEmbedder, dims: int
) -> None:
    full = model.encode_query(TEXTS, task="qa")[:, :dims]
    cut = model.encode_query(TEXTS, task="qa", truncate_dim=dims)
    assert cut.shape == (3, dims)
    np.testing.assert_allclose(cut, full / np.linalg.norm(full, axis=1, keepdims=True), atol=1e-6)


def test_an_untrained_dimension_is_refused_with_the_trained_ones(model: CodeEmbedder) -> None:
    with pytest.raises(ValueError, match=r"embedding dim 48 is not among the trained dims \(64, 32, 16\)"):
        model.encode_query(TEXTS, truncate_dim=48)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_text_gives_the_same_vector_alone_in_a_batch_and_padded_on_either_side(
    model: CodeEmbedder, side: str, batch_size: int
) -> None:
    expected = np.stack([model.encode_query(text) for text in TEXTS])
    model.tokenizer.padding_side = side
    try:
        np.testing.assert_allclose(model.encode_query(TEXTS, batch_size=batch_size), expected, atol=2e-6)
    finally:
        model.tokenizer.padding_side = "right"


def test_a_saved_folder_names_stock_classes_only_and_gives_the_same_vectors(
    model: CodeEmbedder, tmp_path: Path
) -> None:
    model.save_pretrained(str(tmp_path))
    types = [module["type"] for module in json.loads((tmp_path / "modules.json").read_text())]
    assert len(types) == 3
    assert all(name.startswith("sentence_transformers.") for name in types)
    assert not any(b"codequarry" in file.read_bytes() for file in tmp_path.rglob("*.json"))
    assert isinstance(model[0], InstructionPrefix), "saving must leave the model as it was"
    assert isinstance(model[1], LastTokenPooling)
    stock = SentenceTransformer(str(tmp_path))
    assert stock.prompts == model.prompts
    assert np.array_equal(stock.encode(TEXTS, prompt_name="qa_query"), model.encode_query(TEXTS, task="qa"))
    again = CodeEmbedder(str(tmp_path))
    assert isinstance(again[0], InstructionPrefix)
    assert isinstance(again[1], LastTokenPooling)
    assert again.matryoshka_dims == (64, 32, 16)


def test_the_fingerprint_follows_weights_tokenizer_and_length(small_decoder: Path, tmp_path: Path) -> None:
    model = build_model(str(small_decoder), max_length=96)
    first = model.fingerprint
    model.encode_query(["x" * 500, "y"])
    assert model.fingerprint == first, "encoding is not a change"
    model.save(str(tmp_path))
    assert CodeEmbedder(str(tmp_path)).fingerprint == first
    model.max_seq_length = 95
    assert model.fingerprint != first
    model.max_seq_length = 96
    model.tokenizer.split_special_tokens = False
    assert model.fingerprint != first
    model.tokenizer.split_special_tokens = True
    model.state_dict()["0.model.layers.0.mlp.up_proj.weight"][0, 0] += 1e-3
    assert model.fingerprint != first


def test_the_fingerprint_covers_modules_that_are_not_ours(minilm: Path) -> None:
    def with_projection(activation: torch.nn.Module) -> SentenceTransformer:
        torch.manual_seed(0)
        stock = SentenceTransformer(str(minilm), device="cpu")
        stock.append(Dense(384, 8, activation_function=activation))
        return stock

    assert fingerprint(with_projection(torch.nn.Tanh())) == fingerprint(with_projection(torch.nn.Tanh()))
    assert fingerprint(with_projection(torch.nn.Tanh())) != fingerprint(with_projection(torch.nn.Identity()))


def test_the_fingerprint_follows_the_settings_of_every_module(small_decoder: Path) -> None:
    model = build_model(str(small_decoder), projections=(32,), max_length=96)
    first = model.fingerprint
    model[2].activation_function = torch.nn.Tanh()
    second = model.fingerprint
    assert second != first
    model.config.is_causal = False
    assert model.fingerprint not in (first, second)


def test_indexes_made_before_modules_were_covered_open() -> None:
    """The oracle is the formula of the versions before: pooling's settings alone."""
    model = codequarry.load("mini", device="cpu")
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    tokenizer = json.loads(model.tokenizer.backend_tokenizer.to_str())
    digest.update(json.dumps(tokenizer | {"padding": None, "truncation": None}).encode())
    digest.update(f"{model.tokenizer.split_special_tokens} {model.max_seq_length}".encode())
    digest.update(repr(sorted(model[1].get_config_dict().items())).encode())
    assert model.fingerprint == digest.hexdigest()


def test_the_end_of_sequence_row_keeps_its_gradient_after_reload(small_decoder: Path, tmp_path: Path) -> None:
    """torch freezes the row at padding_idx, which transformers sets from the saved pad token."""
    model = build_model(str(small_decoder), max_length=96)
    end = model.tokenizer.eos_token_id
    model.transformers_model.config.pad_token_id = end  # as after a training with pad == end-of-sequence
    model.save(str(tmp_path))

    def gradient(reloaded: SentenceTransformer) -> float:
        features = reloaded.preprocess(["x = 1"])
        reloaded(features)["sentence_embedding"].sum().backward()
        return float(reloaded.transformers_model.get_input_embeddings().weight.grad[end].norm())

    assert gradient(SentenceTransformer(str(tmp_path))) == 0, "the trap this guards against is gone"
    assert gradient(CodeEmbedder(str(tmp_path))) > 0


@pytest.fixture(scope="module")
def on_cpu(small_decoder: Path) -> CodeEmbedder:
    return build_model(str(small_decoder), max_length=96, device="cpu")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_two_threads_that_save_at_once_write_the_same_stock_folder(
    on_cpu: CodeEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second save is in its first module while the first one begins and ends."""
    on_cpu.save(str(tmp_path / "alone"))
    second_is_in, first_is_done = threading.Event(), threading.Event()
    saving: Callable[..., None] = Transformer.save

    def save(module: Any, *args: Any, **kwargs: Any) -> None:
        if threading.current_thread().name == "second":
            second_is_in.set()
            assert first_is_done.wait(60)
        else:
            assert second_is_in.wait(60)
        saving(module, *args, **kwargs)

    monkeypatch.setattr(Transformer, "save", save)
    threads = {
        name: threading.Thread(target=on_cpu.save, args=(str(tmp_path / name),), name=name)
        for name in ("first", "second")
    }
    for thread in threads.values():
        thread.start()
    threads["first"].join()
    first_is_done.set()
    threads["second"].join()
    assert files(tmp_path / "first") == files(tmp_path / "second") == files(tmp_path / "alone")
    types = [module["type"] for module in json.loads((tmp_path / "alone/modules.json").read_text())]
    assert all(name.startswith("sentence_transformers.") for name in types)
    stock = SentenceTransformer(str(tmp_path / "second"), device="cpu")
    assert np.array_equal(stock.encode(TEXTS, prompt_name="qa_query"), on_cpu.encode_query(TEXTS, task="qa"))


def test_a_model_refuses_an_empty_text_also_while_it_is_saved(
    on_cpu: CodeEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving: Callable[..., None] = Transformer.save

    def save(module: Any, *args: Any, **kwargs: Any) -> None:
        assert type(on_cpu[0]) is InstructionPrefix
        assert type(on_cpu[1]) is LastTokenPooling
        with pytest.raises(ValueError, match="is empty"):
            on_cpu.encode_query(["  "])
        saving(module, *args, **kwargs)

    monkeypatch.setattr(Transformer, "save", save)
    on_cpu.save(str(tmp_path))


def test_a_view_shares_the_weights_and_leaves_stock_modules_as_they_are(on_cpu: CodeEmbedder) -> None:
    view = stock_view(on_cpu)
    assert [type(module).__module__.partition(".")[0] for module in view] == ["sentence_transformers"] * 3
    assert view[2] is on_cpu[2]
    assert all(one is other for one, other in zip(view.parameters(), on_cpu.parameters(), strict=True))
    assert stock_view(view) is view
