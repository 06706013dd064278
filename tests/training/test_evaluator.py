import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.recipes.schema import score_name
from codequarry.training.evaluator import ValidationScores, ndcg

WORDS = [
    f"{verb} {noun}"
    for verb in ("sort", "parse", "send", "load", "open")
    for noun in ("list", "date", "mail", "map")
]
PAIRS = {
    "nl2code": [(f"how to {words}", f"def {words.replace(' ', '_')}(x): return x") for words in WORDS],
    "code2nl": [(f"def {words.replace(' ', '')}(): pass", f"will {words} for you") for words in WORDS],
}
TWICE = [
    ("how to sort list", "sorted(xs)"),
    ("how to sort list", "xs.sort()"),
    ("how to print list", "sorted(xs)"),
]


@pytest.fixture(scope="module")
def model(minilm: Path) -> CodeEmbedder:
    return build_model(str(minilm), pooling="mean", dims=(384, 64), device="cpu")


def stock(model: CodeEmbedder, task: str, pairs: list[tuple[str, str]], dim: int | None) -> float:
    """The same score from sentence-transformers' own evaluator."""
    queries = {text: text for text, _ in pairs}
    evaluator = InformationRetrievalEvaluator(
        queries=queries,
        corpus={text: text for _, text in pairs},
        relevant_docs={query: {document for text, document in pairs if text == query} for query in queries},
        truncate_dim=dim,
        query_prompt=model.prompts[f"{task}_query"],
        corpus_prompt=model.prompts[f"{task}_document"],
        write_csv=False,
    )
    scores = evaluator(model)
    return next(value for name, value in scores.items() if name.endswith("ndcg@10"))


@pytest.mark.parametrize("dim", [None, 64])
def test_scores_equal_those_of_sentence_transformers(model: CodeEmbedder, dim: int | None) -> None:
    pairs = {**PAIRS, "qa": TWICE}
    scores = ValidationScores(pairs, dims=[64])(model)
    for task, found in pairs.items():
        assert scores[score_name(task, dim)] == pytest.approx(stock(model, task, found, dim), abs=2e-6)
    assert 0.3 < scores[score_name("nl2code", dim)] <= 1
    means = [scores[score_name(task, dim)] for task in pairs]
    assert scores[score_name("mean", dim)] == pytest.approx(np.mean(means), abs=1e-6)


def test_negatives_are_searched_too_and_are_never_right(model: CodeEmbedder) -> None:
    near = [(query, document, f"{query}: {document}") for query, document in PAIRS["nl2code"]]
    harder = ValidationScores({"nl2code": near})(model)["nl2code_ndcg@10"]
    assert harder < ValidationScores({"nl2code": PAIRS["nl2code"]})(model)["nl2code_ndcg@10"]
    another = [*PAIRS["nl2code"], *((query, document, document) for query, document in PAIRS["nl2code"])]
    assert ValidationScores({"nl2code": another})(model) == ValidationScores({"nl2code": PAIRS["nl2code"]})(
        model
    ), "a text that is right for a query stays right where another pair has it as a negative"


def test_the_prefixes_of_the_task_are_used(model: CodeEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []
    inner = type(model)._inference

    def spy(self: Any, inputs: list[str], *, prompt: str | None, **kwargs: Any) -> Any:
        seen.extend((text, prompt) for text in inputs)
        return inner(self, inputs, prompt=prompt, **kwargs)

    monkeypatch.setattr(type(model), "_inference", spy)
    ValidationScores({"code2nl": PAIRS["code2nl"]}, dims=[64])(model)
    queries, documents = zip(*PAIRS["code2nl"], strict=True)
    assert seen == [
        *((text, model.prompts["code2nl_query"]) for text in queries),
        *((text, model.prompts["code2nl_document"]) for text in documents),
    ], "each text once, though two sizes were scored"


def test_the_same_model_gives_the_same_scores_and_keeps_its_mode(model: CodeEmbedder) -> None:
    evaluator = ValidationScores(PAIRS, dims=[64])
    for mode in (True, False):
        model.train(mode)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        random = torch.random.get_rng_state()
        assert evaluator(model) == evaluator(model)
        assert all(module.training == mode for module in model.modules())
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert torch.equal(random, torch.random.get_rng_state()), "validation changes no random state"


def test_dropout_does_not_reach_the_scores(small_decoder: Path) -> None:
    model = build_model(str(small_decoder), device="cpu")
    for module in model.modules():
        for name in ("attention_dropout", "p"):
            if hasattr(module, name):
                setattr(module, name, 0.5)
    model.train()
    evaluator = ValidationScores(PAIRS)
    assert evaluator(model) == evaluator(model)


def by_hand(scores: list[float], relevant: list[bool]) -> float:
    order = sorted(range(len(scores)), key=lambda column: -scores[column])[:10]
    gain = sum(1 / np.log2(rank + 2) for rank, column in enumerate(order) if relevant[column])
    return float(gain / sum(1 / np.log2(rank + 2) for rank in range(min(10, sum(relevant)))))


@pytest.mark.parametrize("documents", [1, 4, 10, 40])
def test_ndcg_is_what_its_definition_says(documents: int) -> None:
    chance = np.random.default_rng(documents)
    scores = torch.tensor(chance.integers(0, 8, (50, documents)), dtype=torch.float32)  # with ties
    relevant = torch.tensor(chance.random((50, documents)) < 0.4)
    relevant[:, 0] |= ~relevant.any(dim=1)
    expected = [by_hand(row.tolist(), right.tolist()) for row, right in zip(scores, relevant, strict=True)]
    assert ndcg(scores, relevant).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_model_that_says_the_same_of_everything_scores_low() -> None:
    relevant = torch.eye(200, dtype=torch.bool)
    assert ndcg(torch.ones(200, 200), relevant).mean() < 0.03


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ValidationScores({}), "no pair to validate on"),
        (lambda: ValidationScores({"qa": []}), "no pair to validate on"),
        (lambda: ValidationScores({"qa": TWICE}, metric="nl2code_ndcg@10"), "mean_ndcg@10, qa_ndcg@10"),
    ],
)
def test_what_cannot_be_scored_is_refused(make: Callable[[], ValidationScores], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


TWO_RANKS = """
import json, os, sys, torch.distributed as dist
from sentence_transformers.util.distributed import distributed_evaluation
from codequarry.modules.build import build_model
from codequarry.training.evaluator import ValidationScores

dist.init_process_group("gloo")
model = build_model(sys.argv[1], device="cpu")
sizes = []
inner = model._inference
model._inference = lambda texts, **kwargs: sizes.append(len(texts)) or inner(texts, **kwargs)
with distributed_evaluation(model) as runs:
    scores = ValidationScores(json.loads(sys.argv[2]), dims=[16])(model) if runs else None
with open(f"{sys.argv[3]}/{dist.get_rank()}.json", "w") as file:
    json.dump({"scores": scores, "texts": sum(sizes)}, file)
dist.barrier()
os._exit(0)  # see tests/modules/losses/two_ranks.py
"""


def test_two_ranks_share_the_work_and_find_the_same(small_decoder: Path, tmp_path: Path) -> None:
    (tmp_path / "ranks.py").write_text(TWO_RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [str(tmp_path / "ranks.py"), str(small_decoder), json.dumps(PAIRS), str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *words], timeout=200, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    alone = ValidationScores(PAIRS, dims=[16])(build_model(str(small_decoder), device="cpu"))
    assert first["scores"] == pytest.approx(alone, abs=1e-4)
    assert second["scores"] is None
    assert first["texts"] == second["texts"] == 2 * len(WORDS), "four lists of texts, half of each"
