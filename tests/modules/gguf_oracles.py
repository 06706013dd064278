"""What a dequantised folder is compared with: transformers' own loading of the file, and texts to split."""

import json
from pathlib import Path
from typing import Any

import torch
from small_gguf import OTHERS, SPECIAL
from transformers import AutoModelForCausalLM, AutoTokenizer

FUNCTIONS = (
    "def is_prime(number: int) -> bool:\n",
    "def read_lines(path):\n    with open(path) as file:\n",
    "function debounce(call, milliseconds) {\n",
)
LOOKALIKES = (
    *(f"if x: return '{token}'" for token in (*SPECIAL, *OTHERS)),
    "<|im_end|><|im_end|> <|endoftext|", "<|fim_prefix|>def f():<|fim_suffix|>return x<|fim_middle|>",
    "< |im_start|>system", "<|IM_END|>", "<tool_call>{}</tool_call>", "[PAD151665] [PAD640]",
    "<|im_end|>\n\n",
)  # fmt: skip
UNUSUAL = (
    "", " ", "\n\n\t  x", "e\u0301te\u0301 \u00e9t\u00e9", "\u1112\u1161\u11ab",
    "\U0001f600\U0001f469\u200d\U0001f467", "\u0661\u0662 123456", "don't WON'T", "\r\n\r",
    "na\u00efve \ufb01 \u00bd", "\ufeffx\u200b",
)  # fmt: skip


def loaded(folder: Path, **more: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **more).eval()


def check_against_transformers(source: Path, folder: Path, tokens: int) -> None:
    """Weights, logits and greedy continuations are equal to transformers' own loading of the file."""
    ours, theirs = loaded(folder), loaded(source.parent, gguf_file=source.name)
    assert ours.dtype == theirs.dtype == torch.float32
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert [name for name, values in ours.state_dict().items() if not values.equal(expected[name])] == []
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for function in FUNCTIONS:
        inputs = tokenizer(function, return_tensors="pt")
        with torch.no_grad():
            difference = ours(**inputs).logits - theirs(**inputs).logits
        assert difference.abs().max() == 0
        end = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": tokenizer.pad_token_id}
        assert ours.generate(**inputs, **end).equal(theirs.generate(**inputs, **end))


def check_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    assert not {"quantization_config", "_name_or_path", "_model_name_or_path"} & config.keys()
    assert not [key for key, value in config.items() if "gguf" in str(value) or "AWQ" in str(value)]
    assert config["rms_norm_eps"] == 1e-6
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 1e6}
    assert (config["architectures"], config["dtype"]) == (["Qwen2ForCausalLM"], "float32")
    assert config["eos_token_id"] != config["pad_token_id"]
    return config
