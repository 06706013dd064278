from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from codequarry.modules.backbone import DecoderShape
from codequarry.modules.random_backbone import END_OF_SEQUENCE, PAD, train_tokenizer, write_random_backbone

SHAPE = DecoderShape(hidden_size=32, layers=1, heads=2, kv_heads=1, intermediate_size=64, vocabulary=400)
SOURCE = Path(__file__).read_text()


def test_a_trained_tokenizer_reads_the_same_tokens_after_reload(tmp_path: Path) -> None:
    """transformers puts Qwen2's pre-tokenizer around any tokenizer of a qwen2 model when it loads it."""
    tokenizer = train_tokenizer([SOURCE], SHAPE.vocabulary)
    write_random_backbone(tmp_path / "b", SHAPE, tokenizer, seed=1)
    again = AutoTokenizer.from_pretrained(tmp_path / "b")
    assert again(SOURCE)["input_ids"] == tokenizer(SOURCE)["input_ids"]
    assert again.decode(again(SOURCE)["input_ids"]) == SOURCE
    assert (again.eos_token, again.pad_token) == (END_OF_SEQUENCE, PAD)
    assert len(again) == SHAPE.vocabulary


def test_the_seed_decides_the_weights_and_an_existing_folder_is_kept(tmp_path: Path) -> None:
    tokenizer = train_tokenizer([SOURCE], SHAPE.vocabulary)
    weights = [
        load_file(write_random_backbone(tmp_path / name, SHAPE, tokenizer, seed=seed) / "model.safetensors")
        for name, seed in (("a", 1), ("b", 1), ("c", 2), ("a", 2))
    ]
    name = "layers.0.mlp.up_proj.weight"
    assert weights[0][name].equal(weights[1][name])
    assert not weights[0][name].equal(weights[2][name])
    assert weights[0][name].equal(weights[3][name])


def test_a_bag_of_words_begins_with_texts_that_share_words_near_each_other(tmp_path: Path) -> None:
    """The oracle is the mean of the embeddings; transformers' own start is not near it."""
    lines = [line for line in SOURCE.splitlines() if len(line) > 40]
    tokenizer = train_tokenizer([SOURCE], SHAPE.vocabulary)
    shape = replace(SHAPE, hidden_size=256, heads=4, kv_heads=4, layers=2)
    alike = {}
    for start in (True, False):
        folder = write_random_backbone(tmp_path / str(start), shape, tokenizer, seed=1, as_bag_of_words=start)
        model = AutoModel.from_pretrained(folder)
        last, bags = [], []
        for line in lines:
            tokens = torch.tensor([[*tokenizer(line)["input_ids"], tokenizer.eos_token_id]])
            last.append(model(tokens).last_hidden_state[0, -1])
            bags.append(model.embed_tokens(tokens)[0, :-1].mean(0))
        pair = torch.triu_indices(len(lines), len(lines), 1)
        of_last, of_bags = (cosines(vectors)[pair[0], pair[1]] for vectors in (last, bags))
        alike[start] = torch.corrcoef(torch.stack([of_last, of_bags]))[0, 1].item()
    assert alike[True] > 0.85
    assert alike[False] < 0.8


def cosines(vectors: list[torch.Tensor]) -> torch.Tensor:
    unit = torch.nn.functional.normalize(torch.stack(vectors).detach())
    return unit @ unit.T
