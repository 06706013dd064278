"""Which texts are empty; the oracle is the stock class, which gives them the prompt's own vector."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import normalizers

from codequarry.modules.tasks import CODE
from codequarry.modules.text_checks import empty_texts, refuse_unreadable

INVISIBLE = [
    "\0", "\0" * 50, "\x07\x08", "\x1b", "\x7f", "\x85", "\xad", "\u200b", "\ufeff", "\u200b\ufeff\u2060",
    "\u202a\u202c", "\u2028", "\u0301", "e\u0301"[1:] * 3, "\u0300\u0308", "\ue000", "\ufffd", "\ufffe",
    "\U000e0001",
    "\ufe0f", "\u200d", "\u180e", "\u115f", "\u3164", "\u2800", "\u200b\n", " \0\t",
]  # fmt: skip
VISIBLE = [
    "a", "0", "_", ".", "?", "漢", "é", "e\u0301", "🙂", "👩\u200d💻", "\u200b.", "\0" * 300 + "x",
    "\u0301" * 300 + "?", "\u0915\u094d", "\u0e33", "ß", "Ω", "\u05d0", "—", "«»", "\u20ac",
]  # fmt: skip


@pytest.fixture(params=["mini", "decoder"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def stock(model: Any, tmp_path: Path) -> SentenceTransformer:
    model.save(str(tmp_path))
    return SentenceTransformer(str(tmp_path), device="cpu")


@pytest.mark.parametrize("prompt", ["", CODE.prefix("qa", "query"), "find: ", "find"], ids=repr)
def test_a_text_is_empty_where_its_vector_is_the_prompts_own(
    model: Any, stock: SentenceTransformer, prompt: str
) -> None:
    texts = INVISIBLE + VISIBLE
    own = stock.preprocess([""], prompt=prompt)["input_ids"].tolist()
    silent = [text for text in texts if stock.preprocess([text], prompt=prompt)["input_ids"].tolist() == own]
    found = [texts[place] for place in empty_texts(model, texts, prompt)]
    assert set(found) == set(silent) | {text for text in texts if not text.strip()}
    for text in silent[:2]:
        assert np.array_equal(stock.encode(text, prompt=prompt), stock.encode("", prompt=prompt))
    for text in texts:
        if text in found:
            with pytest.raises(ValueError, match=r"text 2 of 2 is empty"):
                model.preprocess(["a", text], prompt=prompt)
        else:
            model.preprocess(["a", text], prompt=prompt)


def test_what_berts_tokenizer_drops_is_empty_for_mini(mini: Any) -> None:
    """By Unicode's own categories: control, format, private use, space, and marks without a letter."""
    for code in [
        *range(0x20),
        *range(0x7F, 0xA0),
        *range(0x2000, 0x2070),
        *range(0x300, 0x370),
        0xFEFF,
        0xE000,
    ]:
        category = unicodedata.category(chr(code))
        if category == "Cn":  # which characters are assigned depends on the version of Unicode
            continue
        if category[0] in "CZ" or category == "Mn":
            assert empty_texts(mini, [chr(code)]) == [0], hex(code)
        else:
            assert empty_texts(mini, [chr(code)]) == [], hex(code)


def test_the_last_guard_is_behind_the_tokenizer(mini: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that drops more than any known one: its own tokens decide, whatever the text looks like."""
    monkeypatch.setattr(mini.tokenizer.backend_tokenizer, "normalizer", normalizers.Replace("silent", ""))
    assert empty_texts(mini, ["silent"]) == []
    with pytest.raises(ValueError, match="text 2 of 2 is empty"):
        mini.preprocess(["loud", "silent"], prompt="find: ")


@pytest.mark.parametrize("text", ["\ud83d", "a\ud83d", "\udce9t\udce9"], ids=ascii)
def test_half_a_surrogate_pair_is_a_sentence_before_the_tokenizer(mini: Any, text: str) -> None:
    for call in (
        lambda: refuse_unreadable(["a", text]),
        lambda: empty_texts(mini, ["a", text]),
        lambda: mini.preprocess(["a", text]),
        lambda: mini.encode_query(["a", text], task="qa"),
        lambda: mini.encode_document(["a", text]),
        lambda: mini.encode(["a", text], prompt=""),
    ):
        with pytest.raises(ValueError, match="text 2 of 2 has half a surrogate pair at character"):
            call()


def test_a_model_without_a_tokenizer_knows_blank_texts_only() -> None:
    assert empty_texts(object(), ["a", " ", "\0", ""]) == [1, 3]
