"""What the engine computes and what it refuses, on configurations and weights alone."""

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, Qwen2Config, Qwen2Model

from codequarry.common.errors import UserError
from codequarry.inference.runtime.engine import Engine, Plan, Unsupported

SIZES: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64,
}  # fmt: skip
QWEN2 = Qwen2Config(**SIZES, num_key_value_heads=2)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights under which every part of the architecture matters."""
    torch.manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            one.normal_(0, 0.3)
    return {name: one.detach() for name, one in model.named_parameters()}


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_encoder_pools_as_sentence_transformers_does(pooling: Any) -> None:
    model = BertModel(BertConfig(**SIZES), add_pooling_layer=False).eval()
    engine = Engine(Plan(model.config.to_dict(), pooling, False), weights(model).__getitem__, torch.float32)
    texts = [[3, 4, 5], [6], [7, 8], [9, 10]]
    for text, vector in zip(texts, engine.vectors(texts), strict=True):
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([text])).last_hidden_state[0]
        expected = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
        assert (vector - expected).abs().max() < 1e-5


@pytest.mark.parametrize("copied", [True, False])
def test_a_decoder_gives_its_last_token_with_any_prefix(copied: bool) -> None:
    model = Qwen2Model(QWEN2).eval()
    plan = Plan(model.config.to_dict(), "lasttoken", False)
    engine = Engine(plan, weights(model).__getitem__, torch.float32, copied=copied)
    draw = torch.Generator().manual_seed(1)
    front = (3, 4, 5, 6)
    texts = [
        [*front, *torch.randint(2, 50, (length,), generator=draw).tolist()] for length in (1, 4, 4, 30, 200)
    ]
    texts += [[*front[:3], 9, 9], list(front), [7]]
    with torch.no_grad():
        expected = torch.stack(
            [model(input_ids=torch.tensor([text])).last_hidden_state[0, -1] for text in texts]
        )
    for prefixes in ((), (front,), (front[:2], front, (9, 9))):
        assert (engine.vectors(texts, prefixes=prefixes) - expected).abs().max() < 2e-5
    assert set(engine._prefixes) == {front, front[:2]}, "each computed once"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another architecture": ({"model_type": "gemma3_text"}, "its architecture is gemma3_text"),
    "scaled positions": ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "of the kind 'yarn'"),
    "positions by layer": ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "several kinds"),
    "a part of a head": ({"partial_rotary_factor": 0.5}, "a part of each head"),
    "a window": ({"layer_types": ["sliding_attention", "full_attention"]}, "sliding window"),
    "both sides": ({"is_causal": False}, "both sides"),
    "another activation": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_known_is_refused_with_its_reason(what: str) -> None:
    fields, reason = REFUSED[what]
    with pytest.raises(Unsupported, match=reason):
        Plan(QWEN2.to_dict() | fields, "lasttoken", True)


def test_a_pooling_or_position_of_bert_that_is_not_known_is_refused() -> None:
    config = BertConfig(**SIZES).to_dict()
    with pytest.raises(Unsupported, match="bert with max pooling"):
        Plan(config, "max", True)  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="position_embedding_type is 'relative_key'"):
        Plan(config | {"position_embedding_type": "relative_key"}, "mean", True)
    with pytest.raises(Unsupported, match="its weights have no embeddings"):
        Engine(Plan(config, "mean", True), {}.__getitem__, torch.float32)


def test_a_text_that_is_longer_than_the_positions_is_refused() -> None:
    model = BertModel(BertConfig(**SIZES), add_pooling_layer=False)
    engine = Engine(Plan(model.config.to_dict(), "mean", True), weights(model).__getitem__, torch.float32)
    with pytest.raises(UserError, match="65 tokens, and the model has positions for 64"):
        engine.vectors([[5] * 65])
