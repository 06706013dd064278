"""The golden texts' vectors by transformers and torch alone: tokenizer, backbone, pooling, Dense, length 1.

python with_transformers.py FOLDER OUT.npz
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from golden_passes import Embed, in_float32, paddings_of, read, write_passes
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer


def models(folder: Path) -> Iterator[tuple[str, Embed]]:
    """The weights as they are stored, then in float32."""
    config, pooling = read(folder / "config.json"), read(folder / "1_Pooling" / "config.json")
    length = read(folder / "sentence_bert_config.json")["max_seq_length"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=getattr(torch, config["dtype"])).eval()
    after = [row["path"] for row in read(folder / "modules.json")[2:]]

    @torch.inference_mode()
    def embed(texts: list[str], padding: str) -> Any:
        tokenizer.padding_side = padding
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        hidden, mask = model(**tokens).last_hidden_state, tokens["attention_mask"]
        if pooling["pooling_mode_lasttoken"]:
            last = (mask * torch.arange(1, mask.shape[1] + 1)).argmax(1)
            pooled = hidden[torch.arange(len(hidden)), last]
        elif pooling["pooling_mode_cls_token"]:
            pooled = hidden[torch.arange(len(hidden)), mask.argmax(1)]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        for path in after:
            pooled = apply(folder / path, pooled)
        return pooled.float().numpy()

    yield config["dtype"], embed
    if config["dtype"] != "float32":
        # Never down: `to(bfloat16)` would round the rotary frequencies too, which stay float32 on loading.
        in_float32(model)
        yield "float32", embed


def apply(module: Path, vectors: Tensor) -> Tensor:
    """What the module in a folder, a Normalize or a Dense, makes of `vectors (texts, dim)`."""
    if not (module / "model.safetensors").is_file():
        return torch.nn.functional.normalize(vectors.float(), dim=1)
    held = {
        name: weights.to(vectors.dtype) for name, weights in load_file(module / "model.safetensors").items()
    }
    vectors = torch.nn.functional.linear(vectors, held["linear.weight"], held.get("linear.bias"))
    return vectors.tanh() if read(module / "config.json")["activation_function"].endswith("Tanh") else vectors


if __name__ == "__main__":
    release = Path(sys.argv[1])
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    write_passes(release, Path(sys.argv[2]), models(release), versions, paddings_of(release))
