from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor, nn
from transformers import set_seed

import codequarry
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.latent_attention_pooling import LatentAttentionPooling
from codequarry.modules.tasks import CODE

DIM = 32
TEXTS = ["def f(): return 1", "x", "for line in file:\n    print(line.strip())\n" * 3]


def trained(dim: int = DIM, **settings: Any) -> LatentAttentionPooling:
    """A pooling whose weights are all at work: untrained, both its branches add nothing."""
    set_seed(2)
    pooling = LatentAttentionPooling(dim, **settings)
    for weights in pooling.parameters():
        nn.init.normal_(weights, std=0.2)
    return pooling


def batch(side: str = "right") -> dict[str, Tensor]:
    """Four texts of 1, 5, 12 and 7 tokens; padding holds numbers that would be seen if they counted."""
    lengths, positions = torch.tensor([1, 5, 12, 7]), torch.arange(12)
    mask = positions[None] < lengths[:, None]
    hidden = torch.randn(4, 12, DIM, generator=torch.Generator().manual_seed(0))
    if side == "left":
        mask = mask.flip(1)
        hidden = torch.stack(
            [row.roll(12 - int(length), 0) for row, length in zip(hidden, lengths, strict=True)]
        )
    hidden[~mask] = torch.nan
    return {"token_embeddings": hidden, "attention_mask": mask.long()}


def packed() -> dict[str, Tensor]:
    padded = batch()
    mask = padded["attention_mask"].bool()
    return {
        "token_embeddings": padded["token_embeddings"][mask][None],
        "cu_seq_lens_q": torch.cat([torch.zeros(1), mask.sum(1).cumsum(0)]).int(),
    }


def as_the_paper_writes_it(pooling: LatentAttentionPooling, hidden: Tensor) -> Tensor:
    """One text, `(tokens, dim)`, with the softmax written out."""
    queries = pooling.query(pooling.attention_norm(hidden))
    keys, values = pooling.key_and_value(pooling.table).chunk(2, dim=-1)
    size = queries.size(1) // pooling.heads
    read = []
    for head in range(pooling.heads):
        part = slice(head * size, (head + 1) * size)
        attention = (queries[:, part] @ keys[:, part].T / size**0.5).softmax(dim=-1)  # (tokens, latents)
        read.append(attention @ values[:, part])
    attended = hidden + pooling.answer(torch.cat(read, dim=1))
    return (attended + pooling.narrow(nn.functional.gelu(pooling.widen(pooling.norm(attended))))).mean(dim=0)


@pytest.mark.parametrize("settings", [{}, {"latents": 7, "heads": 2, "latent_dim": 12}])
@pytest.mark.parametrize("side", ["right", "left"])
def test_it_equals_the_formula_text_by_text(settings: dict[str, int], side: str) -> None:
    pooling, padded = trained(**settings), batch(side)
    found = pooling(dict(padded))["sentence_embedding"]
    for row, mask, vector in zip(padded["token_embeddings"], padded["attention_mask"], found, strict=True):
        assert torch.allclose(vector, as_the_paper_writes_it(pooling, row[mask.bool()]), atol=1e-5)


def test_padding_on_either_side_and_packing_give_one_vector() -> None:
    pooling = trained()
    right, left, flat = (
        pooling(features)["sentence_embedding"] for features in (batch(), batch("left"), packed())
    )
    assert right.isfinite().all()
    assert torch.allclose(right, left, atol=1e-6)
    assert torch.allclose(right, flat, atol=1e-6)


def test_padding_gets_no_gradient_and_spoils_none() -> None:
    pooling, padded = trained(), batch()
    padded["token_embeddings"].requires_grad_()
    pooling(dict(padded))["sentence_embedding"].square().sum().backward()
    seen = padded["token_embeddings"].grad.abs().sum(-1) > 0
    assert torch.equal(seen, padded["attention_mask"].bool())
    assert all(weights.grad.isfinite().all() for weights in pooling.parameters())


def test_before_training_it_is_mean_pooling() -> None:
    flat = packed()
    expected = Pooling(DIM, "mean")(dict(flat))["sentence_embedding"]
    assert torch.allclose(LatentAttentionPooling(DIM)(flat)["sentence_embedding"], expected, atol=1e-6)


def test_every_weight_is_trained_from_the_second_step_on() -> None:
    pooling = LatentAttentionPooling(DIM, latents=16)
    optimizer = torch.optim.AdamW(pooling.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        pooling(batch())["sentence_embedding"].pow(3).sum().backward()
        optimizer.step()
    assert all(weights.grad.abs().sum() > 0 for weights in pooling.parameters())


def test_sums_of_bf16_states_are_taken_in_float32() -> None:
    pooling = trained()
    hidden = torch.ones(1, 4096, DIM, dtype=torch.bfloat16)
    features = {"token_embeddings": hidden, "attention_mask": torch.ones(1, 4096, dtype=torch.long)}
    one = {"token_embeddings": hidden[:, :1], "attention_mask": torch.ones(1, 1, dtype=torch.long)}
    found = pooling(features)["sentence_embedding"]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, pooling(one)["sentence_embedding"])


def test_heads_that_do_not_divide_the_size_are_refused() -> None:
    with pytest.raises(ValueError, match="8 heads do not divide a hidden state of 36 numbers"):
        LatentAttentionPooling(36)


@pytest.fixture
def model(small_decoder: Path) -> CodeEmbedder:
    built = build_model(str(small_decoder), pooling="latentattention", max_length=96, device="cpu")
    built[1].load_state_dict(trained(64).state_dict())
    return built


def test_a_text_has_the_same_vector_alone_and_in_a_batch_padded_on_either_side(model: CodeEmbedder) -> None:
    alone = torch.cat([model.encode_query([text], convert_to_tensor=True) for text in TEXTS])
    for side in ("right", "left"):
        model.tokenizer.padding_side = side
        together = model.encode_query(TEXTS, convert_to_tensor=True)
        assert (together - alone).abs().max() < 1e-5


def test_a_saved_folder_is_read_by_codequarry_and_refused_by_stock(
    model: CodeEmbedder, tmp_path: Path
) -> None:
    model.save(str(tmp_path))
    loaded = codequarry.load(str(tmp_path), device="cpu")
    assert torch.equal(
        loaded.encode_query(TEXTS, convert_to_tensor=True), model.encode_query(TEXTS, convert_to_tensor=True)
    )
    assert loaded.prompts == CODE.prompts()
    with pytest.raises(ValueError, match="trust_remote_code"):
        SentenceTransformer(str(tmp_path), device="cpu")


def test_the_fingerprint_knows_the_number_of_heads(model: CodeEmbedder) -> None:
    before = model.fingerprint
    model[1].heads = 4
    assert model.fingerprint != before
