"""Token ids laid out for a model."""

import pytest
import torch
from transformers import DataCollatorWithFlattening

from codequarry.modules.token_features import packed, padded

TEXTS = [[5, 6, 7], [8], [9, 10]]


@pytest.mark.parametrize("offset", [0, 2])
def test_packed_texts_are_what_transformers_makes_of_them(offset: int) -> None:
    stock = DataCollatorWithFlattening(
        return_position_ids=True, return_seq_idx=True, return_flash_attn_kwargs=True
    )
    expected = dict(stock([{"input_ids": text} for text in TEXTS]))
    del expected["labels"]
    expected["position_ids"] = expected["position_ids"] + offset
    found = packed(TEXTS, offset)
    assert found.pop("modality") == "text"
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(found[name]), torch.as_tensor(value)), name


def test_padding_stands_on_the_right_and_is_masked() -> None:
    found = padded(TEXTS, pad_id=1)
    assert found["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1], [9, 10, 1]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
