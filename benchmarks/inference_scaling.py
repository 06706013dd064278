"""Does the packed runtime's cost grow with tokens alone, and its memory not at all? See `inference_speed`."""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from codequarry.common.environment import has_fast_bf16
from codequarry.common.plots import COLOURS, empty_figure, plain_axes, styled
from codequarry.inference.runtime.engine import Engine, Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The width of Qwen2.5-Coder-0.5B. A BERT ends at 512 positions; four layers show what 24 do.
DECODER = {
    "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 4,
    "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 1000, "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
}  # fmt: skip
LENGTHS = (16, 64, 256, 1024, 4096, 8192)

_TOKENS = 4096  # of a measurement, at least


def tokens_per_second(
    config: dict[str, Any] = DECODER,
    lengths: Sequence[int] = LENGTHS,
    *,
    tokens: int = _TOKENS,
    rounds: int = 3,
) -> list[dict[str, float]]:
    """Tokens per second of the processor, by tokens of a text, of a decoder with random weights.

    Arguments: `config` as in a model's `config.json`; `tokens` that are embedded at each length, at least.
    """
    dtype = torch.bfloat16 if has_fast_bf16("cpu") else torch.float32
    engine = Engine(Plan(config, "lasttoken", normalize=True), _random_weights(config), dtype)
    draw = torch.Generator().manual_seed(0)
    sets = {}
    for length in lengths:
        shape = max(1, tokens // length), length
        sets[length] = torch.randint(config["vocab_size"], shape, generator=draw).tolist()
    seconds: dict[int, list[float]] = {length: [] for length in lengths}
    for _ in range(rounds):
        for length, texts in sets.items():
            started = time.process_time()
            engine.vectors(texts)
            seconds[length].append((time.process_time() - started) / (len(texts) * length))
    return [
        {"tokens": length, "tokens_per_second": round(1 / statistics.median(taken))}
        for length, taken in seconds.items()
    ]


def _random_weights(config: dict[str, Any]) -> Any:
    draw = torch.Generator().manual_seed(0)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    outputs = {"q_proj": hidden, "k_proj": keys, "v_proj": keys, "o_proj": hidden, "down_proj": hidden}

    def weight(name: str) -> torch.Tensor:
        part, kind = name.split(".")[-2:]
        if part == "embed_tokens":
            return torch.randn(config["vocab_size"], hidden, generator=draw)
        if "norm" in part:
            return torch.ones(hidden)
        out = outputs.get(part, inner)
        if kind == "bias":
            return torch.zeros(out)
        wide = inner if part == "down_proj" else hidden
        return torch.randn(out, wide, generator=draw).mul_(hidden**-0.5)

    return weight


# A process that writes vectors of so many short texts, as `codequarry embed` does: prints its peak bytes.
_EMBED = """
import sys, tempfile
from pathlib import Path
import torch
from codequarry.common.environment import peak_memory
from codequarry.inference.bulk import Record, Settings, embed_records
from codequarry.inference.encoder import can_use_bf16
from codequarry.inference.open import open_model
torch.set_num_threads(1)
model = open_model(sys.argv[1])
arithmetic, size = "bf16" if can_use_bf16(model) else "fp32", model.get_embedding_dimension()
settings = Settings(model.fingerprint, "", "document", size, arithmetic, "float32", 2048)
texts = (Record(f"x{number} = {number}", {}) for number in range(int(sys.argv[2])))
with tempfile.TemporaryDirectory() as out:
    embed_records(texts, model, Path(out) / "out", settings, progress=False)
print(peak_memory())
"""


def peak_bytes(folder: Path, counts: Sequence[int]) -> list[dict[str, int]]:
    """The most memory of a process that embeds so many short texts into files, for each count."""
    found = []
    for count in counts:
        words = [sys.executable, "-c", _EMBED, str(folder), str(count)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found.append({"texts": count, "peak_bytes": int(done.stdout.split()[-1])})
    return found


def length_figure(rows: Sequence[dict[str, float]], subtitle: str) -> "Figure":
    """Tokens per second over tokens of a text: a level line where the cost grows with tokens alone."""
    with styled():
        figure = empty_figure("Tokens per second, by the length of a text", subtitle, (7.2, 4.3))
        axes = figure.add_axes((0.11, 0.13, 0.84, 0.68))
        plain_axes(axes)
        lengths = [row["tokens"] for row in rows]
        axes.plot(lengths, [row["tokens_per_second"] for row in rows], color=COLOURS[0], marker="o")
        axes.set_xscale("log", base=2)
        axes.set_xticks(lengths, [f"{length:,.0f}" for length in lengths])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("tokens of a text (logarithmic)")
        axes.set_ylabel("tokens per second of one core")
    return figure
