"""Real MiniLM ranks documents of the standard library; the oracle is every cosine, sorted here."""

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

from codequarry.cli.data import add_consistency_arguments, run_consistency
from codequarry.data.consistency import consistency_table, document_ranks
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs, write_pairs
from codequarry.modules.build import build_model
from codequarry.modules.tasks import CODE


@pytest.fixture(scope="module")
def model(minilm: Path) -> SentenceTransformer:
    return build_model(str(minilm), pooling="mean", max_length=64, device="cpu")


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Docstrings and functions of three modules, one source each."""
    found = {}
    for module in (textwrap, random, statistics):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.FunctionDef) and (doc := ast.get_docstring(node)):
                code = ast.get_source_segment(inspect.getsource(module), node.body[-1]) or ""
                query = doc.split("\n")[0]
                found[query] = Pair("nl2code", query, code[:300], module.__name__, "python")
    return list(found.values())


def test_a_rank_counts_the_documents_of_the_own_source_that_are_nearer(
    model: SentenceTransformer, pairs: list[Pair]
) -> None:
    ranks = document_ranks(pairs, model)
    for pair, rank in zip(pairs, ranks, strict=True):
        documents = list(dict.fromkeys(other.document for other in pairs if other.source == pair.source))
        query = model.encode(pair.query, prompt=CODE.prefix("nl2code", "query"))
        scores = model.encode(documents, prompt=CODE.prefix("nl2code", "document")) @ query
        place = np.argsort(-scores).tolist().index(documents.index(pair.document))
        assert rank == place + 1
    assert 1 in ranks
    assert max(ranks) > 3, "otherwise the order above says little"


def test_a_document_under_another_querys_name_ranks_worse(
    model: SentenceTransformer, pairs: list[Pair]
) -> None:
    group = [pair for pair in pairs if pair.source == "random"]
    swapped = [
        Pair(one.task, one.query, other.document, one.source, one.language)
        for one, other in zip(group, group[1:] + group[:1], strict=True)
    ]
    assert np.mean(document_ranks(swapped, model)) > np.mean(document_ranks(group, model))


def test_answers_of_the_same_words_and_repeats_of_the_document_do_not_count(
    model: SentenceTransformer,
) -> None:
    same = [
        Pair("nl2code", "Sort a list.", "unrelated words about weather", "s", "python"),
        Pair("nl2code", "sort  a list .", "sort a list", "s", "python"),
        Pair("nl2code", "what is the weather", "unrelated words about weather", "s", "python"),
    ]
    assert document_ranks(same, model) == [1, 1, 1]
    other = [same[0], Pair("nl2code", "order the items", "sort a list", "s", "python")]
    assert document_ranks(other, model)[0] == 2, "without the same words it is another query's document"


def test_ranks_are_among_a_fixed_number_of_documents(model: SentenceTransformer, pairs: list[Pair]) -> None:
    few = document_ranks(pairs, model, among=5)
    assert max(few) <= 6
    assert all(one <= many for one, many in zip(few, document_ranks(pairs, model), strict=True))
    backwards = document_ranks(pairs[::-1], model, among=5)
    assert few == backwards[::-1], "the documents are chosen by their text, not by their order"
    with pytest.raises(ValueError, match="at least one document"):
        document_ranks(pairs, model, among=0)


def test_the_verb_keeps_the_pairs_of_the_ranks_and_prints_each_source(
    model: SentenceTransformer,
    pairs: list[Pair],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("codequarry.inference.load.load", lambda name: model)
    write_pairs(tmp_path / "in.jsonl", pairs)
    parser = argparse.ArgumentParser()
    add_consistency_arguments(parser)
    words = [str(tmp_path / "in.jsonl"), "--model", "any", "--out", str(tmp_path / "out.jsonl.gz")]
    run_consistency(parser.parse_args([*words, "--ranks", "2", "4"]))
    ranks = document_ranks(pairs, model)
    kept = [pair for pair, rank in zip(pairs, ranks, strict=True) if 2 <= rank <= 4]
    assert read_pairs(tmp_path / "out.jsonl.gz").pairs == kept
    printed = capsys.readouterr().out
    assert consistency_table(pairs, ranks, 2, 4) in printed
    assert f"{len(kept)} of {len(pairs)} pairs stay" in printed
    for wrong in (["0", "4"], ["5", "4"]):
        with pytest.raises(ValueError, match="the first is 1 or more"):
            run_consistency(parser.parse_args([*words, "--ranks", *wrong]))
    with pytest.raises(ValueError, match="widen --ranks"):
        run_consistency(parser.parse_args([*words, "--ranks", "900", "901"]))


def test_the_table_has_the_shares_of_each_source() -> None:
    pairs = [Pair("qa", f"q{n}", f"d{n}", "s", "text") for n in range(4)]
    line = consistency_table(pairs, [1, 2, 20, 21], 2, 20).splitlines()[-1]
    assert line.split() == ["s", "qa", "4", "25%", "50%", "25%"]
