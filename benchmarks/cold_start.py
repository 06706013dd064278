"""What a new process costs until its first vector; see `inference_speed`."""

import statistics
import subprocess
import sys
from pathlib import Path

from codequarry.common.files import read_json

STOCK, FP32 = "sentence-transformers", "codequarry"
LIGHT = "codequarry, as search opens it"

# A new process, from its start to its first vector: prints CPU seconds and peak bytes.
_COLD = """
import time
import sys
name, prompt, text = sys.argv[1:4]
{body}
from codequarry.common.environment import peak_memory
print(time.process_time(), peak_memory())
"""
_STARTS = {
    STOCK: "from sentence_transformers import SentenceTransformer\n"
    "SentenceTransformer(name, device='cpu', local_files_only=True).encode([text], prompt=prompt)",
    FP32: "from codequarry.inference.open import open_model\n"
    "from codequarry.inference.encoder import Encoder\n"
    "Encoder(open_model(name)).encode([text], prompt)",
    LIGHT: "from codequarry.inference.open import open_light\n"
    "from codequarry.inference.encoder import Encoder\n"
    "Encoder(open_light(name)).encode([text], prompt)",
}


def cold_starts(folder: Path, task: str, query: str, rounds: int) -> dict[str, dict[str, float]]:
    """CPU seconds and peak bytes of a process that embeds one query of `task`, by how the model is opened."""
    prompt = read_json(folder / "config_sentence_transformers.json")["prompts"][f"{task}_query"]
    seen: dict[str, list[list[float]]] = {name: [] for name in _STARTS}
    for _ in range(rounds):
        for name, body in _STARTS.items():
            words = [sys.executable, "-c", _COLD.format(body=body), str(folder), prompt, query]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            seen[name].append([float(part) for part in done.stdout.split()[-2:]])
    return {
        name: {
            "seconds": round(statistics.median(row[0] for row in rows), 3),
            "peak_bytes": int(statistics.median(row[1] for row in rows)),
        }
        for name, rows in seen.items()
    }
