"""A model that needs no weights, and a small checkout to search."""

import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from codequarry.modules.tasks import CODE


class FakeEncoder:
    """Texts as counts of their hashed character trigrams: the same text gives the same vector, everywhere.

    embedded: every document it was asked for, in order. delay: seconds a document.
    """

    def __init__(self, fingerprint: str = "fake", dims: int | None = None, delay: float = 0.0) -> None:
        self.fingerprint = fingerprint
        self.truncate_dim = dims
        self.prompt_family = CODE
        self.device = SimpleNamespace(type="none")
        self.delay = delay
        self.embedded: list[str] = []

    def get_embedding_dimension(self) -> int:
        return self.truncate_dim or 384

    def encode(self, inputs: Any, /, *, prompt: str = "", task: str = "query", **kwargs: Any) -> Any:
        if task == "document":
            self.embedded.extend(inputs)
            time.sleep(self.delay * len(inputs))
        return np.stack([self._vector(text) for text in inputs])

    def _vector(self, text: str) -> Any:
        counts = np.zeros(384, np.float32)
        padded = f"  {text} "
        for start in range(len(padded) - 2):
            counts[zlib.crc32(f"{self.fingerprint}{padded[start : start + 3]}".encode()) % 384] += 1
        return counts[: self.get_embedding_dimension()] + np.float32(1e-3)


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def make_encoder() -> type[FakeEncoder]:
    return FakeEncoder


FILES = {
    "shapes/circle.py": (
        '"""Round things."""\n\nimport math\n\n\nclass Circle:\n    """A circle by its radius."""\n\n'
        "    sides = 0\n\n    def __init__(self, radius):\n        self.radius = radius\n\n"
        '    def area(self):\n        """Surface inside the circle."""\n'
        "        return math.pi * self.radius**2\n"
    ),
    "shapes/dates.py": (
        "from datetime import datetime\n\n\ndef parse_date(text):\n"
        '    """Parse an ISO date string."""\n    return datetime.fromisoformat(text)\n'
    ),
    "web/app.js": "// Starts the server.\nfunction startServer(port) {\n  return listen(port);\n}\n",
    "README.md": "# Shapes\n\nA library of shapes.\n\n## Install\n\nRun pip install shapes.\n",
    "deploy.sh": "set -e\nrsync -a build/ server:/srv/shapes\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
