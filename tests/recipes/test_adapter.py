from typing import Any

import pytest

from codequarry.recipes.adapter import Adapter


def test_an_empty_table_is_a_whole_adapter() -> None:
    assert Adapter() == Adapter(rank=16, alpha=32.0, dropout=0.0, targets=("all-linear",))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rank": 0}, "rank = 0: at least 1"),
        ({"alpha": 0.0}, "alpha = 0.0"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"targets": ()}, "targets is empty"),
        ({"targets": ("all-linear", "q_proj")}, "already holds q_proj"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_field(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"lora: .*{sentence}"):
        Adapter(**fields)
