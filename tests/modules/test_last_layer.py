"""The last layer of a packed decoder."""

from pathlib import Path

import torch

from codequarry.modules.build import build_model
from codequarry.modules.packing import packed, use_packing


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
