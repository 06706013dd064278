"""Pairs and a decoder small enough that a training process is mostly its imports."""

import pytest

from codequarry.data.pair import Pair

SMALL = (
    "backbone.shape.hidden_size=64", "backbone.shape.layers=2", "backbone.shape.heads=8",
    "backbone.shape.kv_heads=2", "backbone.shape.intermediate_size=128", "backbone.shape.vocabulary=600",
    "matryoshka_dims=[64, 16]", "max_length=128", "batch_size=8",
    "validation=none",
)  # fmt: skip


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Settings that make any recipe with a shape small."""
    return SMALL


@pytest.fixture(scope="session")
def some_pairs() -> list[Pair]:
    """Two sources of two tasks, their texts of many lengths; a third that fills no batch."""
    found = []
    for source, task, count in (("a", "nl2code", 120), ("b", "code2nl", 60), ("few", "qa", 5)):
        for number in range(count):
            query = f"{source} sort number {number} " * (1 + number % 5)
            document = f"def {source}_{number}(x): return x + {number}\n" * (1 + number % 9)
            found.append(Pair(task, query, document, source, "python", (f"wrong {number}",)))
    return found
