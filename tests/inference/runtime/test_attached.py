"""`codequarry.load`'s own way to vectors against sentence-transformers': the same texts, the same numbers."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import processors
from torch.nn.utils import parametrize

from codequarry.common.errors import UserError
from codequarry.inference.load import load
from codequarry.inference.runtime import windows
from codequarry.inference.runtime.attached import PackedRuntime
from codequarry.modules.build import build_model
from codequarry.modules.tasks import CODE, SIDES, TASKS, prompt_name

WORDS = [
    "def",
    "return",
    "größe",
    "漢字",
    "x",
    "(",
    ")",
    "\n",
    "    ",
    "\t",
    "== 1.5",
    "<|endoftext|>",
    "[SEP]",
    "import os",
]


def random_texts(count: int, longest: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, longest + 1, count)
    return ["a" + " ".join(draw.choice(WORDS, length)) for length in lengths]


def stock(model: Any) -> Any:
    """The same modules, encoded by sentence-transformers."""
    plain = copy.copy(model)
    plain.runtime = None
    return plain


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def model(request: pytest.FixtureRequest) -> Any:
    if request.param == "encoder":
        found = request.getfixturevalue("mini")
    else:
        found = build_model(str(request.getfixturevalue("small_decoder")), max_length=300, dims=(64, 32))
        with torch.no_grad():  # under transformers' own small weights, a wrong attention would hardly show
            for name, weights in found.named_parameters():
                if "proj.weight" in name:
                    weights.mul_(8)
        found.runtime = PackedRuntime()
    return found


@pytest.mark.parametrize("seed", range(3))
def test_vectors_of_random_texts_are_those_of_sentence_transformers(model: Any, seed: int) -> None:
    draw = np.random.default_rng(seed)
    texts = random_texts(int(draw.integers(2, 24)), 40, seed) + random_texts(1, 2_000, seed)
    task, side = draw.choice(list(TASKS)), draw.choice(SIDES)
    name = prompt_name(str(task), side)
    dims = int(draw.choice(model.matryoshka_dims))
    for cut in (None, dims):
        expected = stock(model).encode(texts, prompt_name=name, truncate_dim=cut)
        found = model.encode(texts, prompt_name=name, truncate_dim=cut)
        assert model.runtime.reason is None
        assert found.dtype == expected.dtype
        assert np.abs(found - expected).max() < 2e-6


def test_bfloat16_is_within_rounding_of_float32(model: Any) -> None:
    texts = random_texts(8, 60, 5)
    exact = stock(model).encode_document(texts, task="qa")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.encode_document(texts, task="qa")
    assert model.runtime.reason is None
    assert (found * exact).sum(axis=1).min() > 0.9995
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6, "normalised in float32"
    assert np.abs(found - exact).max() > 1e-6, "it did compute in bfloat16"


def test_every_form_of_encode_gives_what_sentence_transformers_gives(model: Any) -> None:
    texts = random_texts(5, 20, 7)
    one = model.encode_query(texts[0])
    assert np.abs(one - stock(model).encode_query(texts[0])).max() < 2e-6
    tensor = model.encode_query(texts, convert_to_tensor=True)
    assert torch.is_tensor(tensor)
    listed = model.encode_query(texts, convert_to_numpy=False)
    assert isinstance(listed, list)
    assert torch.equal(torch.stack(listed), tensor)
    binary = model.encode_query(texts, precision="ubinary")
    assert binary.dtype == np.uint8
    assert np.array_equal(binary, stock(model).encode_query(texts, precision="ubinary"))
    assert model.encode_query([]).shape == (0, model.get_embedding_dimension())


def test_windows_are_joined_in_the_order_of_the_texts(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = random_texts(7, 12, 8)
    whole = model.encode_document(texts)
    monkeypatch.setattr(windows, "WINDOW", 3)
    assert np.abs(model.encode_document(texts) - whole).max() < 2e-6


def test_a_text_that_merges_with_the_prompt_is_computed_whole(model: Any) -> None:
    texts = ["x = 1", "\n\n  y = 2", " z", "\tq"]
    for prompt in ("passage", "a b ", CODE.prefix("nl2code", "document")):
        found = model.encode(texts, prompt=prompt)
        assert np.abs(found - stock(model).encode(texts, prompt=prompt)).max() < 2e-6


def test_prompts_that_callers_put_in_front_themselves_are_shared_too(model: Any) -> None:
    texts = [f"{model.prompts[name]}x = 1" for name in ("qa_query", "qa_document", "code2nl_query")] + [
        "x = 2"
    ]
    found = model.encode(texts, prompt="")
    assert np.abs(found - stock(model).encode(texts, prompt="")).max() < 2e-6
    if model.runtime._engines[torch.float32]._forward.causal:
        ids = model.tokenizer([text[: text.rindex("x")] for text in texts[:3]])["input_ids"]
        kept = model.runtime._engines[torch.float32]._prefixes
        assert {tuple(row[:-1]) for row in ids} <= kept.keys()


def test_empty_texts_are_refused_alike(model: Any) -> None:
    messages = []
    for one in (model, stock(model)):
        with pytest.raises(UserError) as refused:
            one.encode_document(["x", " "])
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("how", ["in place", "through data", "another tensor"])
def test_changed_weights_are_seen_at_the_next_call(model: Any, how: str) -> None:
    changed = copy.deepcopy(model)
    assert changed.runtime is not model.runtime
    texts = random_texts(3, 10, 9)
    before = changed.encode_query(texts)
    weight = next(
        one for name, one in changed.named_parameters() if name.endswith(("value.weight", "v_proj.weight"))
    )
    with torch.no_grad():
        if how == "in place":
            weight.mul_(2)
        elif how == "through data":
            weight.data += 0.5
        else:
            weight.data = weight.data * 2
    after = changed.encode_query(texts)
    assert changed.runtime.reason is None
    assert np.abs(after - before).max() > 1e-4
    assert np.abs(after - stock(changed).encode_query(texts)).max() < 2e-6


def test_what_the_engine_does_not_compute_goes_the_stock_way_with_a_reason(model: Any) -> None:
    texts = random_texts(2, 10, 10)
    changed = copy.deepcopy(model)
    changed.encode_query(texts, output_value="token_embeddings")
    assert changed.runtime.reason == "the call asks for token_embeddings"
    hook = changed[0].register_forward_hook(lambda *_: None)
    found = changed.encode_query(texts)
    assert "hook" in str(changed.runtime.reason)
    assert np.array_equal(found, stock(changed).encode_query(texts))
    hook.remove()
    linear = next(module for module in changed.modules() if type(module) is torch.nn.Linear)
    parametrize.register_parametrization(linear, "weight", torch.nn.Identity())
    assert np.array_equal(changed.encode_query(texts), stock(changed).encode_query(texts))
    assert changed.runtime.reason is not None
    changed = copy.deepcopy(model).half()
    changed.encode_query(texts)
    assert changed.runtime.reason == "it computes in torch.float16"


def test_a_pickled_runtime_is_a_new_one(model: Any) -> None:
    model.encode_query(["x"])
    again = pickle.loads(pickle.dumps(model.runtime))
    assert isinstance(again, PackedRuntime)
    assert not again._engines


def test_stock_switches_it_off_and_other_names_are_refused() -> None:
    assert load("mini", runtime="stock").runtime is None
    with pytest.raises(UserError, match="pass packed or int8 or stock or onnx or openvino"):
        load("mini", runtime="tvm")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="needs runtime='packed'"):
        load("mini", runtime="stock", batch_invariant=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_batch_invariant_vectors_have_the_same_bits_in_any_company(model: Any, threads: int) -> None:
    invariant = copy.deepcopy(model)
    invariant.runtime = PackedRuntime(batch_invariant=True)
    texts = [*random_texts(9, 60, 11), "x"]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for bf16 in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                together = invariant.encode_document(texts)
                alone = np.stack([invariant.encode_document([text])[0] for text in texts])
                pairs = np.concatenate(
                    [invariant.encode_document(texts[at : at + 2]) for at in range(0, 10, 2)]
                )
            assert np.array_equal(together, alone)
            assert np.array_equal(together, pairs)
    finally:
        torch.set_num_threads(before)
    assert np.abs(alone - stock(model).encode_document(texts)).max() < 0.02


def test_a_tokenizer_that_stops_ending_texts_is_refused_at_the_next_call(model: Any) -> None:
    changed = copy.deepcopy(model)
    changed.encode_query(["x"])
    backend = changed.tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    messages = []
    for one in (changed, stock(changed)):
        with pytest.raises(UserError, match="no end-of-sequence") as refused:
            one.encode_query(["x = 1"])
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


def test_one_text_has_the_vector_that_it_has_among_others(model: Any) -> None:
    texts = random_texts(4, 30, 17)
    for name in ("nl2code_query", "qa_document"):
        among = model.encode(texts, prompt_name=name)
        alone = np.stack([model.encode(text, prompt_name=name) for text in texts])
        assert np.abs(alone - among).max() < 2e-6


def test_a_model_in_training_mode_is_put_into_evaluation_as_stock_does(model: Any) -> None:
    changed = copy.deepcopy(model)
    changed.train()
    assert np.abs(changed.encode_query(["x = 1"]) - model.encode_query(["x = 1"])).max() < 2e-6
    assert not any(module.training for module in changed.modules())
