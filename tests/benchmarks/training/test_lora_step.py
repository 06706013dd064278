"""The program that measures a LoRA step, on a small decoder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from codequarry.benchmarks.training.lora_step import VARIANTS
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs

pytest.importorskip("peft")


def test_every_variant_computes_the_same_losses_and_the_later_ones_keep_less(
    small_decoder: Path, tmp_path: Path
) -> None:
    pairs = [
        Pair("nl2code", f"add {n} " * (1 + n % 5), f"return x + {n}\n" * (1 + n % 3), "a", "python")
        for n in range(24)
    ]
    write_pairs(tmp_path / "a.jsonl", pairs)
    settings = [f"backbone.name={small_decoder}", "matryoshka_dims=[64, 16]", "precision=fp32"]
    words = [
        sys.executable, "-m", "codequarry.benchmarks.training.lora_step", "--data", str(tmp_path / "a.jsonl"),
        "--pairs", "8", "--steps", "2", "--memory-gb", "0.0001", "--out", str(tmp_path / "results.json"),
        *(word for setting in settings for word in ("--set", setting)),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    rows = results["rows"]
    assert [row["variant"] for row in rows] == list(VARIANTS)
    assert results["hardware"]["processor"]
    for row in rows:
        assert row["losses"] == pytest.approx(rows[0]["losses"], abs=1e-4)
        assert 0 < row["share_of_roof"] < 1
        assert f"| {row['variant']} |" in done.stdout
    assert rows[1]["kept_bytes_per_token"] < 0.8 * rows[0]["kept_bytes_per_token"]
