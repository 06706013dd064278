"""Packed texts: the same vectors and gradients as padded ones."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AutoModel,
    AutoTokenizer,
    DataCollatorWithFlattening,
    Gemma2Config,
    Gemma3TextConfig,
    Gemma3TextModel,
    GptOssConfig,
    Lfm2Config,
    Llama4TextConfig,
    ModernBertConfig,
    ModernBertModel,
    Qwen2Config,
    Qwen2Model,
)

from codequarry.modules import packing
from codequarry.modules.attention import Attention, spans
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.packing import packed, padded, use_packing

TEXTS = ["def f(x):\n    return x", "a", "parse a date " * 30, "# comment\nclass A:\n    pass\n" * 3]


@pytest.fixture(params=["encoder, mean", "decoder, last token", "decoder, latent attention"])
def model(request: pytest.FixtureRequest, minilm: Path, small_decoder: Path) -> CodeEmbedder:
    if request.param.startswith("encoder"):
        return build_model(str(minilm), pooling="mean", max_length=128)
    pooling = "lasttoken" if "last" in request.param else "latentattention"
    return build_model(str(small_decoder), pooling=pooling, max_length=128)  # type: ignore[arg-type]


def both_forms(model: CodeEmbedder) -> tuple[dict[str, Any], dict[str, Any]]:
    padded = model[0].preprocess(TEXTS, prompt="passage: ")
    rows = [
        ids[mask.bool()].tolist()
        for ids, mask in zip(padded["input_ids"], padded["attention_mask"], strict=True)
    ]
    return packed(rows), padded


def vectors_and_gradients(model: CodeEmbedder, features: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    vectors = model(dict(features))["sentence_embedding"]
    (vectors * torch.linspace(-1, 1, vectors.numel()).view_as(vectors)).sum().backward()
    weights = model.named_parameters()
    return vectors.detach(), {name: own.grad.clone() for name, own in weights if own.grad is not None}


def test_packed_and_padded_texts_have_the_same_vectors_and_gradients(model: CodeEmbedder) -> None:
    in_one_row, in_a_block = both_forms(model)
    expected, expected_gradients = vectors_and_gradients(model, in_a_block)  # stock attention
    assert use_packing(model) is None
    assert model[0].model.config._attn_implementation == packing.NAME
    found, gradients = vectors_and_gradients(model, in_one_row)
    assert (found - expected).abs().max() < 1e-6
    assert gradients.keys() == expected_gradients.keys()
    # A key's bias shifts all scores of a softmax alike: its gradient is nothing but rounding.
    least = 1e-3 * max(gradient.norm() for gradient in expected_gradients.values())
    for name, gradient in gradients.items():
        expected_gradient = expected_gradients[name]
        assert (gradient - expected_gradient).norm() < 1e-4 * max(expected_gradient.norm(), least), name


def test_a_packed_text_does_not_see_its_neighbours(model: CodeEmbedder) -> None:
    assert use_packing(model) is None
    in_one_row, _ = both_forms(model)
    together = model(dict(in_one_row))["sentence_embedding"]
    bounds = in_one_row["cu_seq_lens_q"].tolist()
    ids = in_one_row["input_ids"][0].tolist()
    for text, (start, end) in enumerate(pairwise(bounds)):
        alone = model(packed([ids[start:end]]))["sentence_embedding"]
        assert (alone - together[text]).abs().max() < 1e-6


def test_a_model_that_takes_packed_texts_still_encodes_padded_ones(model: CodeEmbedder) -> None:
    before = model.encode_document(TEXTS, task="nl2code")
    assert use_packing(model) is None
    after = model.encode_document(TEXTS, task="nl2code")
    assert abs(after - before).max() < 1e-6


WINDOW: dict[str, Any] = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}

SIZES: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}

HEADS: dict[str, Any] = SIZES | {"num_key_value_heads": 2, "head_dim": 16}

ATTENTIONS = {
    "gemma3": (Gemma3TextModel, Gemma3TextConfig(**HEADS, **WINDOW), Attention(True, 16)),
    "gemma3 both ways": (
        Gemma3TextModel,
        Gemma3TextConfig(**HEADS, **WINDOW, use_bidirectional_attention=True),
        Attention(False, 9),  # 8 to either side and the token itself
    ),
    "qwen2": (
        Qwen2Model,
        Qwen2Config(**SIZES, num_key_value_heads=2, **WINDOW | {"use_sliding_window": True}),
        Attention(True, 16),
    ),
    "qwen2 both ways": (
        Qwen2Model,
        Qwen2Config(**SIZES, num_key_value_heads=2, is_causal=False),
        Attention(False, None),
    ),
    "modernbert": (
        ModernBertModel,
        ModernBertConfig(**SIZES, local_attention=16, layer_types=WINDOW["layer_types"], pad_token_id=0),
        Attention(False, 9),
    ),
}


@pytest.fixture(params=ATTENTIONS)
def attending(request: pytest.FixtureRequest, small_decoder: Path, tmp_path: Path) -> Path:
    """A backbone of two layers, of each kind of attention, with weights under which it matters."""
    model_class, config, _ = ATTENTIONS[request.param]
    AutoTokenizer.from_pretrained(small_decoder).save_pretrained(tmp_path)
    torch.manual_seed(0)
    backbone = model_class(config)
    with torch.no_grad():
        for weights in backbone.parameters():
            if weights.ndim == 2:
                weights.normal_(0, 0.3)
    backbone.save_pretrained(tmp_path)
    return tmp_path


def test_attention_is_read_from_the_configuration_and_packs_as_it_pads(
    attending: Path, request: pytest.FixtureRequest
) -> None:
    expected = ATTENTIONS[request.node.callspec.params["attending"]][2]
    assert Attention.of(json.loads((attending / "config.json").read_text())) == expected
    model = build_model(
        str(attending), pooling="lasttoken" if expected.causal else "mean", max_length=128, device="cpu"
    )
    backbone = model[0].model
    assert Attention.of(backbone.config.to_dict()) == expected
    # The oracle: what transformers' own attention layers hold.
    windows = {getattr(module, "sliding_window", None) for module in backbone.modules()}
    assert windows - {None} == ({expected.sliding_window} - {None})
    in_one_row, in_a_block = both_forms(model)
    wanted, wanted_gradients = vectors_and_gradients(model, in_a_block)
    assert use_packing(model) is None
    found, gradients = vectors_and_gradients(model, in_one_row)
    assert (found - wanted).abs().max() < 1e-5
    assert gradients.keys() == wanted_gradients.keys()
    total = max(gradient.norm() for gradient in wanted_gradients.values())
    for name, gradient in gradients.items():
        assert (gradient - wanted_gradients[name]).norm() < 1e-4 * total, name


def test_what_counts_as_causal() -> None:
    def causal(**config: Any) -> bool:
        return Attention.of(config).causal

    assert causal(model_type="llama")
    assert not causal(model_type="bert")
    assert causal(model_type="bert", is_decoder=True)
    assert not causal(model_type="bert", is_causal=True), "BERT never reads it"
    assert not causal(model_type="gemma3_text", use_bidirectional_attention=True, is_causal=True)
    assert causal(model_type=["x"], is_causal="no")


def test_weights_in_bfloat16_whose_rounding_is_large_still_pack(small_decoder: Path) -> None:
    """As those of Qwen2.5-Coder: the same sums in another order differ by a hundred times what is allowed."""
    model = build_model(str(small_decoder), max_length=256)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "proj" in name:
                weights *= 64
    model[0].model.to(torch.bfloat16)
    rows = packing._trial_texts(model)
    before = packing.embedded(model, padded(rows))
    assert use_packing(model) is None
    assert {weights.dtype for weights in model.parameters()} == {torch.bfloat16}
    assert (packing.embedded(model, packed(rows)) - before).abs().max() > 1e-3


def test_an_architecture_that_would_compute_something_else_is_left_as_it_was(
    small_decoder: Path, tmp_path: Path
) -> None:
    """Here: layers that do not pass their sliding window on."""
    folder = tmp_path / "sliding"
    shutil.copytree(small_decoder, folder)
    config = json.loads((folder / "config.json").read_text())
    layers = ["sliding_attention"] * config["num_hidden_layers"]
    config |= {"use_sliding_window": True, "sliding_window": 4, "layer_types": layers, "max_window_layers": 0}
    (folder / "config.json").write_text(json.dumps(config))
    model = build_model(str(folder), max_length=128)
    for layer in model[0].model.layers:
        layer.self_attn.sliding_window = None
    before = model.encode_document(TEXTS, task="nl2code")
    reason = use_packing(model)
    assert reason is not None
    assert "Qwen2Model differ by" in reason
    assert model[0].model.config._attn_implementation != packing.NAME
    assert (model.encode_document(TEXTS, task="nl2code") == before).all()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("groups", [4, 2])
@pytest.mark.parametrize("window", [None, 2])
def test_the_gpu_kernel_is_asked_for_what_the_blocks_compute(
    window: int | None, causal: bool, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel itself runs on GPUs only: here a plain reading of its documentation stands for it."""

    def documented(
        query: Tensor, key: Tensor, value: Tensor, bounds_q: Tensor, bounds_k: Tensor, longest_q: int,
        longest_k: int, *, scale: float, window_size: tuple[int, int], enable_gqa: bool,
    ) -> Tensor:  # fmt: skip
        assert torch.equal(bounds_q, bounds_k)
        assert bounds_q.dtype == torch.int32
        assert longest_q == longest_k == 5
        ends = bounds_q.tolist()
        left, right = (longest_q if side < 0 else side for side in window_size)

        def seen(length: int) -> Tensor:
            places = torch.arange(length)
            away = places - places[:, None]
            return (away >= -left) & (away <= right)

        parts = [
            scaled_dot_product_attention(
                *(states[start:end].transpose(0, 1)[None] for states in (query, key, value)),
                attn_mask=seen(end - start),
                scale=scale,
                enable_gqa=enable_gqa,
            )[0].transpose(0, 1)
            for start, end in pairwise(ends)
        ]
        return torch.cat(parts)

    monkeypatch.setattr(packing, "varlen_attn", documented)
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, 9, 8, generator=draw)
    key, value = (torch.randn(1, groups, 9, 8, generator=draw) for _ in range(2))
    bounds = torch.tensor([0, 3, 4, 9])
    by_flash = packing._flash_attention(query, key, value, 0.3, bounds, 5, causal, window)
    in_blocks = packing._BlockAttention.apply(query, key, value, 0.3, bounds, 5, causal, window)
    assert torch.allclose(by_flash, in_blocks, atol=1e-6)


SOME_TEXTS = [[5, 6, 7], [8], [9, 10]]


@pytest.mark.parametrize("offset", [0, 2])
def test_packed_texts_are_what_transformers_makes_of_them(offset: int) -> None:
    stock = DataCollatorWithFlattening(
        return_position_ids=True, return_seq_idx=True, return_flash_attn_kwargs=True
    )
    expected = dict(stock([{"input_ids": text} for text in SOME_TEXTS]))
    del expected["labels"]
    expected["position_ids"] = expected["position_ids"] + offset
    found = packed(SOME_TEXTS, offset)
    assert found.pop("modality") == "text"
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(found[name]), torch.as_tensor(value)), name


def test_padding_stands_on_the_right_and_is_masked() -> None:
    found = padded(SOME_TEXTS, pad_id=1)
    assert found["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1], [9, 10, 1]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]


def backbone_of(config: Any, small_decoder: Path, folder: Path) -> Path:
    """A backbone of this configuration with random weights, and the small decoder's tokenizer."""
    AutoTokenizer.from_pretrained(small_decoder).save_pretrained(folder)
    torch.manual_seed(0)
    backbone = AutoModel.from_config(config)
    with torch.no_grad():
        for weights in backbone.parameters():
            if weights.ndim == 2:
                weights.normal_(0, 0.3)
    backbone.save_pretrained(folder)
    return folder


LONG: dict[str, Any] = {"sliding_window": 300, "layer_types": ["sliding_attention", "full_attention"]}


@pytest.mark.parametrize(
    "config",
    [
        Gemma3TextConfig(**HEADS, **LONG),
        Qwen2Config(**SIZES, num_key_value_heads=2, use_sliding_window=True, **LONG),
        ModernBertConfig(**SIZES, local_attention=600, layer_types=LONG["layer_types"], pad_token_id=0),
    ],
    ids=lambda config: config.model_type,
)
def test_a_window_longer_than_any_usual_trial_text_packs_as_it_pads(
    config: Any, small_decoder: Path, tmp_path: Path
) -> None:
    model = build_model(str(backbone_of(config, small_decoder, tmp_path)), pooling="mean", max_length=700)
    draw = torch.Generator().manual_seed(1)
    texts = [torch.randint(5, 590, (length,), generator=draw).tolist() for length in (450, 3, 320, 40)]
    wanted, wanted_gradients = vectors_and_gradients(model, padded(texts))
    assert max(map(len, packing._trial_texts(model))) >= 360, "the trial goes past the window"
    assert use_packing(model) is None
    found, gradients = vectors_and_gradients(model, packed(texts))
    assert (found - wanted).abs().max() < 1e-5
    total = max(gradient.norm() for gradient in wanted_gradients.values())
    for name, gradient in gradients.items():
        assert (gradient - wanted_gradients[name]).norm() < 1e-4 * total, name


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (Gemma2Config(**HEADS, **WINDOW), "attention takes softcap"),
        (
            GptOssConfig(**HEADS, **WINDOW, num_local_experts=2, num_experts_per_tok=1),
            "attention takes s_aux",
        ),
        (
            Llama4TextConfig(
                **HEADS, attention_chunk_size=300, layer_types=["chunked_attention", "full_attention"],
                num_local_experts=2, num_experts_per_tok=1, intermediate_size_mlp=96, pad_token_id=0,
            ),
            "vectors of Llama4TextModel differ",
        ),
        (
            Lfm2Config(**SIZES, num_key_value_heads=2, layer_types=["full_attention", "conv"]),
            "packed",  # transformers 5.23 refuses it; in 5.18 its convolution crosses texts
        ),
    ],
    ids=lambda given: getattr(given, "model_type", ""),
)  # fmt: skip
def test_what_packed_attention_does_not_compute_is_padded_with_a_reason(
    config: Any, why: str, small_decoder: Path, tmp_path: Path
) -> None:
    model = build_model(str(backbone_of(config, small_decoder, tmp_path)), pooling="mean", max_length=700)
    _, in_a_block = both_forms(model)
    before, gradients = vectors_and_gradients(model, in_a_block)
    attention = model[0].model.config._attn_implementation
    reason = use_packing(model)
    assert reason is not None
    assert why in reason
    assert model[0].model.config._attn_implementation == attention
    after, again = vectors_and_gradients(model, in_a_block)
    assert torch.equal(after, before)
    assert all(torch.equal(again[name], gradients[name]) for name in gradients)


@pytest.mark.parametrize("name", ["softcap", "s_aux", "position_bias", "head_mask", "something new"])
def test_an_argument_that_packed_attention_does_not_know_is_refused(name: str) -> None:
    states = torch.randn(1, 2, 5, 4)
    bounds = {"cu_seq_lens_q": torch.tensor([0, 2, 5]), "max_length_q": 3}
    with pytest.raises(packing.NotPackedError, match=f"takes {name}"):
        packing.packed_attention(torch.nn.Module(), states, states, states, None, **bounds, **{name: 1.0})
    packing.packed_attention(torch.nn.Module(), states, states, states, None, **bounds, **{name: None})
    with pytest.raises(packing.NotPackedError, match="takes attention_mask"):
        packing.packed_attention(torch.nn.Module(), states, states, states, torch.ones(1), **bounds)


def test_every_span_of_a_configuration_is_found_and_no_unused_window() -> None:
    assert spans({"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 32768}) == set()
    assert spans({"model_type": "mistral", "sliding_window": 4096}) == {4096}
    assert spans({"attention_chunk_size": 8192, "id2label": {0: "x"}}) == {8192}
    assert spans({"text_config": {"model_type": "gemma3_text", "sliding_window": 512}}) == {512}
    assert spans({"attention_window": [256, 512]}) == {256, 512}
    assert spans({"model_type": "gpt_neo", "window_size": 256}) == {256}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [None, 2])
def test_dropout_of_the_weights_has_the_right_mean_and_gradient(window: int | None, causal: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    states = [
        torch.randn(1, heads, 6, 3, generator=draw, dtype=torch.float64, requires_grad=True)
        for heads in (4, 2, 2)
    ]
    bounds = torch.tensor([0, 2, 6])

    def attend(*states: Tensor, dropout: float = 0.4) -> Tensor:
        torch.manual_seed(5)  # the same dice at each call, as in the two passes of GradCache
        attended: Tensor = packing._BlockAttention.apply(*states, 0.5, bounds, 4, causal, window, dropout)
        return attended

    assert torch.autograd.gradcheck(attend, states)
    assert torch.equal(attend(*states, dropout=0.0), packing._BlockAttention.apply(
        *states, 0.5, bounds, 4, causal, window))  # fmt: skip
    many = [
        packing._BlockAttention.apply(*states, 0.5, bounds, 4, causal, window, 0.4).detach()
        for _ in range(4000)
    ]
    assert (torch.stack(many).mean(0) - attend(*states, dropout=0.0)).abs().max() < 0.1
