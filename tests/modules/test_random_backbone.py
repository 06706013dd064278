from pathlib import Path

from safetensors.torch import load_file
from transformers import AutoTokenizer

from codequarry.modules.decoder_shape import DecoderShape
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
