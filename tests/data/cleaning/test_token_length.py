from pathlib import Path

import pytest

from codequarry.data.cleaning.token_length import estimated_tokens, token_counter

TEXTS = [
    "How do I read a file line by line in Python?",
    Path(__file__).read_text(encoding="utf-8"),
    "SELECT name FROM users WHERE age > 30 AND city = 'Paris'",
]


def test_a_real_tokenizer_counts_its_own_tokens_without_special_ones(small_decoder: Path) -> None:
    from transformers import AutoTokenizer

    real = AutoTokenizer.from_pretrained(small_decoder)
    expected = [len(real(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    assert token_counter(small_decoder)(TEXTS) == expected


def test_the_estimate_is_near_a_trained_wordpiece_tokenizer(minilm: Path) -> None:
    """MiniLM's is another one than the one the estimate was fitted to."""
    for text, true in zip(TEXTS, token_counter(minilm)(TEXTS), strict=True):
        assert 0.7 < estimated_tokens(text) / true < 1.4
    assert token_counter()(TEXTS) == [estimated_tokens(text) for text in TEXTS]


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no tokenizer that can be read"):
        token_counter(tmp_path)
    with pytest.raises(ValueError, match=r"is not a folder: expected one with tokenizer\.json"):
        token_counter(tmp_path / "absent")
