"""A card with every field filled, each number in it unlike any other."""

import re

import pytest

from codequarry.model_card.card import Card
from codequarry.modules.tasks import CODE

MODELS = ("mini", "BM25", "all-MiniLM-L6-v2")
SETS = {"conala": ("nl2code", 472, 490), "docs_qa": ("qa", 2069, 2085), "mean": ("mean", 2541, 2575)}


def rows(model, base, **more):
    """Scored rows of one model on the three sets, no two scores alike."""
    found = []
    for place, (name, (task, queries, documents)) in enumerate(SETS.items()):
        score = round(base + place * 0.0123, 4)
        found.append(
            {"model": model, "set": name, "task": task, "queries": queries, "documents": documents}
            | {"ndcg@10": score, "low": score - 0.0151, "high": score + 0.0147}
            | {"mrr@10": score - 0.0411, "recall@1": score - 0.1017}
            | more
        )
    return found


@pytest.fixture
def results():
    """A results file as `codequarry benchmark --out` writes it."""
    return {
        "benchmark": "evaluation sets of eval",
        "command": "codequarry benchmark mini --data eval --dims 384,128 --precision int8 --prompts-cost",
        "date": "2026-11-21",
        "hardware": {"processor": "EPYC 7763", "cores": 2},
        "versions": {"torch": "2.13.0"},
        "interval": "95% percentile bootstrap over queries, 2000 rounds, seed 0",
        "model": "mini",
        "speed": {"texts_per_second": 101.9, "tokens_per_second": 11488, "compute": "bf16"},
        "rows": [
            row
            for model, base in zip(MODELS, (0.6571, 0.4403, 0.6054), strict=True)
            for row in rows(model, base)
        ],
        "dims": rows("mini", 0.6571, variant="384 dims") + rows("mini", 0.6219, variant="128 dims"),
        "precisions": rows("mini", 0.6533, variant="int8"),
        "prompts": rows("mini", 0.5512, variant="no prompt") + rows("mini", 0.5021, variant="sides swapped"),
        "int8": {"ranges": "int8_ranges.json", "calibrated_on": "at most 2,000 documents of each set"},
        "languages": [
            {"model": "mini", "set": "conala", "language": "python", "queries": 472, "ndcg@10": 0.6571}
        ],
    }


@pytest.fixture
def verification():
    """What `codequarry release verify --out` writes."""
    row = {"runtime": "sentence-transformers", "version": "6.2.0", "precision": "fp32", "ok": True}
    return {
        "command": "codequarry release verify releases/mini --out verification.json",
        "date": "2026-11-22",
        "hardware": {"processor": "EPYC 7763", "cores": 2},
        "exceptions": ["sentence-transformers 3.4.1 strips white space around a text."],
        "rows": [
            row | {"worst_cosine": 0.99999994, "worst_absolute_difference": 1.34e-7},
            row
            | {"runtime": "onnxruntime", "version": "1.31.1", "precision": "int8", "ok": False}
            | {"worst_cosine": 0.9871, "worst_absolute_difference": 0.0231},
        ],
    }


@pytest.fixture
def report():
    """What `codequarry data clean` writes beside the pairs it keeps."""
    return {
        "in": 1777,
        "out": 1544,
        "why": {"too long": 178, "evaluation: same text": 55},
        "languages": {"python": 1201, "go": 343},
        "sources": {},
        "eval_sets": {
            "conala": {"texts": 962, "removed": {"evaluation: same text": 55}},
            "docs_qa": {"texts": 4154, "removed": {}},
        },
        "limits": {"max_tokens": 1024, "near": 0.8},
    }


@pytest.fixture
def card(results, verification, report):
    """Everything that a card can say."""
    return Card(
        name="mini",
        load_as="someone/mini",
        version="0.1.0",
        dims=(384, 128),
        max_length=256,
        pooling="mean",
        prompts=CODE.prompts(),
        dtype="bf16",
        in_memory="fp32",
        parameters=22713216,
        base_model="someone/base",
        base_revision="5520285387d9",
        base_licence="MIT",
        training_data=(
            {"source": "here", "task": "qa", "pairs": 1200, "licence": "CC-BY-SA-4.0", "pairs_drawn": 640},
            {"source": "here", "task": "nl2code", "pairs": 300, "licence": "CC-BY-SA-4.0", "pairs_drawn": 64},
            {"source": "yonder", "task": "qa", "pairs": 44, "licence": "MIT", "pairs_drawn": 32},
        ),
        decontamination=report,
        hyperparameters={
            "temperature": 0.05,
            "objective.matching.teacher": "a/b",
            "objective.matching.weight": 7.5,
        },
        scores={"mean_ndcg@10": 0.8347, "mean_128_ndcg@10": 0.7123},
        steps=600,
        seconds=3462.6,
        hardware={"processor": "EPYC 7763", "cores": 2},
        versions={"torch": "2.13.0"},
        results=results,
        verification=verification,
        datasets=("someone/pairs",),
    )


@pytest.fixture
def section():
    """A function: the text of a card under one title."""

    def cut(text, title):
        return re.search(rf"^##+ {title}\n(.*?)(?=^##+ |\Z)", text, re.DOTALL | re.MULTILINE).group(1)

    return cut
