from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

from codequarry.modules.build import build_model
from codequarry.modules.last_token_pooling import LastTokenPooling
from codequarry.modules.packing import packed, use_packing

STOCK, OURS = Pooling(8, "lasttoken"), LastTokenPooling(8)


def random_batch(side: str) -> dict[str, torch.Tensor]:
    lengths = torch.tensor([1, 5, 12, 7])
    positions = torch.arange(12)
    right = positions[None] < lengths[:, None]
    return {
        "token_embeddings": torch.randn(4, 12, 8, generator=torch.Generator().manual_seed(0)),
        "attention_mask": (right if side == "right" else right.flip(1)).long(),
    }


@pytest.mark.parametrize("side", ["left", "right"])
def test_it_equals_the_stock_pooling_bit_for_bit(side: str) -> None:
    expected = STOCK(random_batch(side))["sentence_embedding"]
    assert torch.equal(OURS(random_batch(side))["sentence_embedding"], expected)


def test_padding_on_both_sides_is_read_at_the_last_real_token() -> None:
    batch = {"token_embeddings": torch.randn(1, 5, 8), "attention_mask": torch.tensor([[0, 1, 1, 0, 0]])}
    assert torch.equal(OURS(dict(batch))["sentence_embedding"][0], batch["token_embeddings"][0, 2])


def test_packed_input_gives_what_padded_input_gives() -> None:
    padded = random_batch("right")
    mask = padded["attention_mask"].bool()
    in_one_row = {
        "token_embeddings": padded["token_embeddings"][mask][None],
        "cu_seq_lens_q": torch.cat([torch.zeros(1), mask.sum(1).cumsum(0)]).int(),
    }
    assert torch.equal(OURS(in_one_row)["sentence_embedding"], OURS(padded)["sentence_embedding"])


def test_other_hidden_states_are_not_touched() -> None:
    """The stock class multiplies all of them by the mask, and keeps the product for the backward pass."""
    batch = random_batch("right")
    batch["token_embeddings"].requires_grad_()
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        OURS(batch)["sentence_embedding"].sum().backward()
    assert all(tensor.numel() < batch["token_embeddings"].numel() for tensor in saved)
    touched = batch["token_embeddings"].grad.abs().sum(-1) > 0
    assert touched.sum(1).tolist() == [1, 1, 1, 1]


def test_a_stock_container_is_refused_because_it_would_save_our_class_name() -> None:
    with pytest.raises(ValueError, match="LastTokenPooling was put into a SentenceTransformer"):
        SentenceTransformer(modules=[LastTokenPooling(8)])


def test_the_last_mlp_sees_one_row_a_text_and_the_others_all(small_decoder: Path) -> None:
    """That the vectors stay the same is test_packing's claim; a wrong row would have switched this off."""
    model = build_model(str(small_decoder), max_length=64)
    assert use_packing(model) is None
    layers, seen = model[0].model.layers, []
    for layer in (layers[0], layers[-1]):
        layer.mlp.gate_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    with torch.no_grad():
        model(packed([[5, 6, 7], [8, 9]]))
    assert seen == [5, 2]
