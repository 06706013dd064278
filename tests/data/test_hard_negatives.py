"""Real MiniLM, and a decoder with random weights as the other model."""

import argparse
import ast
import inspect
import random
import statistics
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from codequarry.cli.data import add_negatives_arguments as add_arguments
from codequarry.cli.data import run_negatives as run
from codequarry.data.hard_negatives import mine_negatives, negatives_kept_in
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs, write_pairs
from codequarry.modules.build import build_model
from codequarry.modules.tasks import CODE


@pytest.fixture(scope="module")
def model(minilm: Path) -> SentenceTransformer:
    return build_model(str(minilm), pooling="mean", max_length=64, device="cpu")


@pytest.fixture(scope="module")
def other_model(small_decoder: Path) -> SentenceTransformer:
    return build_model(str(small_decoder), max_length=96, device="cpu")


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Docstrings and functions of three modules of the standard library."""
    found = []
    for module in (textwrap, random, statistics):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.FunctionDef) and (doc := ast.get_docstring(node)):
                code = ast.get_source_segment(inspect.getsource(module), node.body[-1]) or ""
                found.append(Pair("nl2code", doc.split("\n")[0], code[:300], "stdlib", "python", ("old",)))
    by_query = {pair.query: pair for pair in found}  # the oracle below knows one answer a query
    return list(by_query.values())[:24]


def cosines(model: SentenceTransformer, pair: Pair, documents: list[str]) -> np.ndarray:
    query = model.encode([pair.query], prompt=CODE.prefix(pair.task, "query"))
    return (model.encode(documents, prompt=CODE.prefix(pair.task, "document")) @ query.T)[:, 0]


def test_negatives_are_the_nearest_documents_that_the_margin_leaves(
    model: SentenceTransformer, pairs: list[Pair]
) -> None:
    """The oracle: every cosine, computed here, with the prefixes of the task on both sides."""
    found = mine_negatives(pairs, model, per_pair=3, margin=0.1)
    documents = list(dict.fromkeys(pair.document for pair in pairs))
    assert sum(bool(pair.negatives) for pair in found) > len(pairs) // 2
    queries = model.encode([pair.query for pair in pairs], prompt=CODE.prefix("nl2code", "query"))
    every = queries @ model.encode(documents, prompt=CODE.prefix("nl2code", "document")).T
    for pair, mined, scores in zip(pairs, found, every, strict=True):
        assert (mined.query, mined.document) == (pair.query, pair.document)
        positive = scores[documents.index(pair.document)]
        left = [
            (-score, document)
            for score, document in zip(scores, documents, strict=True)
            if score <= positive - abs(positive) * 0.1 and document != pair.document
        ]
        assert mined.negatives == tuple(document for _, document in sorted(left)[:3])


def test_the_margin_removes_a_planted_false_negative(model: SentenceTransformer, pairs: list[Pair]) -> None:
    right = Pair("nl2code", "add two numbers", "def add(a, b):\n    return a + b", "stdlib", "python")
    twin = Pair("nl2code", "sum of two numbers", "def add(x, y):\n    return x + y", "stdlib", "python")
    planted = [right, twin, *pairs]
    guarded = mine_negatives(planted, model, per_pair=3, margin=0.3)
    assert twin.document not in guarded[0].negatives
    assert right.document not in guarded[1].negatives
    scores = cosines(model, right, [right.document, twin.document])
    assert 0 < scores[0] - scores[1] < 0.3 * scores[0], "the twin is nearly as near"
    unguarded = mine_negatives(planted, model, per_pair=3, margin=0)
    assert twin.document in unguarded[0].negatives, "without the margin it is taken for a negative"
    absolute = mine_negatives(planted, model, margin=0, absolute_margin=0.3)[0].negatives
    assert all(cosines(model, right, [one])[0] <= scores[0] - 0.3 + 1e-6 for one in absolute)


def test_the_answers_of_the_same_words_are_never_negatives(
    model: SentenceTransformer, pairs: list[Pair]
) -> None:
    first = Pair("nl2code", "Sort a list.", "items.sort()", "stdlib", "python")
    second = Pair("nl2code", "sort  a list .", "sorted(items)", "stdlib", "python")
    found = mine_negatives([first, second, *pairs], model, per_pair=10, margin=0)
    assert "sorted(items)" not in found[0].negatives
    assert "items.sort()" not in found[1].negatives


def test_two_models_find_different_negatives(
    model: SentenceTransformer, other_model: SentenceTransformer, pairs: list[Pair]
) -> None:
    one, other = (mine_negatives(pairs, which, per_pair=2) for which in (model, other_model))
    assert one != other
    assert one == mine_negatives(pairs, model, per_pair=2)


def test_documents_come_from_the_own_source_unless_asked_otherwise(
    model: SentenceTransformer, pairs: list[Pair]
) -> None:
    mixed = [
        Pair(pair.task, pair.query, pair.document, f"source {n % 2}", "python")
        for n, pair in enumerate(pairs)
    ]
    home = {source: {p.document for p in mixed if p.source == source} for source in ("source 0", "source 1")}
    for pair in mine_negatives(mixed, model, per_pair=2):
        assert set(pair.negatives) <= home[pair.source]
    across = mine_negatives(mixed, model, per_pair=2, across_sources=True)
    assert any(not set(pair.negatives) <= home[pair.source] for pair in across)


def test_a_source_with_one_document_has_no_negatives(model: SentenceTransformer) -> None:
    alone = [Pair("qa", f"question {n}", "the only answer", "s", "text") for n in range(3)]
    assert mine_negatives(alone, model) == alone


def test_what_was_mined_is_kept_until_weights_pairs_or_settings_change(
    model: SentenceTransformer, other_model: SentenceTransformer, pairs: list[Pair], tmp_path: Path
) -> None:
    mined = negatives_kept_in(tmp_path, pairs, model, "weights of MiniLM", per_pair=1)
    assert mined == mine_negatives(pairs, model, per_pair=1)
    again = negatives_kept_in(tmp_path, pairs, None, "weights of MiniLM", per_pair=1)  # type: ignore[arg-type]
    assert again == mined, "no model was needed"
    other = negatives_kept_in(tmp_path, pairs, other_model, "weights of the decoder", per_pair=1)
    assert other == mine_negatives(pairs, other_model, per_pair=1) != mined
    assert negatives_kept_in(tmp_path, pairs, model, "weights of MiniLM", per_pair=1) == mined
    fewer = negatives_kept_in(tmp_path, pairs[:9], model, "weights of MiniLM", per_pair=1)
    assert len(fewer) == 9


def test_the_verb_writes_pairs_with_negatives_and_says_how_many(
    model: SentenceTransformer,
    pairs: list[Pair],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("codequarry.inference.load.load", lambda name: model)
    write_pairs(tmp_path / "in.jsonl", pairs)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = [str(tmp_path / "in.jsonl"), "--model", "any", "--out", str(tmp_path / "out.jsonl.gz")]
    run(parser.parse_args([*words, "--per-pair", "2"]))
    assert read_pairs(tmp_path / "out.jsonl.gz").pairs == mine_negatives(pairs, model, per_pair=2)
    assert f"of {len(pairs)} pairs have negatives" in capsys.readouterr().out
    with pytest.raises(ValueError, match="none of the endings of a pair file"):
        run(parser.parse_args([*words, "--out", "out.txt"]))
    with pytest.raises(ValueError, match="a range that begins at 0 or above"):
        run(parser.parse_args([*words, "--range", "5", "5"]))
