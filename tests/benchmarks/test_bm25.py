import math

import bm25s
import numpy as np
import pytest

from codequarry.benchmarks.bm25 import BM25Search, code_words, places_among, plain_words
from codequarry.data.eval_set import EvalSet


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parseHTTPDate(raw_value2)", ["parse", "http", "date", "raw", "value", "2"]),
        ("__init__ XMLParser", ["init", "xml", "parser"]),
        ("a+b;", ["a", "b"]),
        ("", []),
    ],
)
def test_identifiers_are_cut_at_underscores_and_capitals(text: str, words: list[str]) -> None:
    assert code_words(text) == words


def test_plain_words_leave_identifiers_whole() -> None:
    assert plain_words("parseHTTPDate(raw_value2)") == ["parsehttpdate", "raw_value2"]


def search(queries: list[str], documents: list[str], **options: object) -> dict[str, dict[str, float]]:
    engine = BM25Search()
    engine.index([{"id": f"d{n}", "text": text} for n, text in enumerate(documents)])
    asked = [{"id": f"q{n}", "text": text} for n, text in enumerate(queries)]
    return engine.search(asked, **{"top_k": 10, **options})  # type: ignore[arg-type]


def test_scores_are_those_of_the_formula() -> None:
    """Lucene's BM25, written out: idf ln(1 + (N - n + 0.5) / (n + 0.5)), k1 1.5, b 0.75."""
    documents = ["sort a list of dates", "parse a date", "send mail to a list of people who sort mail"]
    tokens = [code_words(document) for document in documents]
    average = sum(map(len, tokens)) / len(tokens)

    def score(query: list[str], document: list[str]) -> float:
        total = 0.0
        for word in query:
            holding = sum(word in other for other in tokens)
            idf = math.log(1 + (len(tokens) - holding + 0.5) / (holding + 0.5))
            count = document.count(word)
            total += idf * count / (count + 1.5 * (1 - 0.75 + 0.75 * len(document) / average))
        return total

    ranking = search(["sortMail"], documents)["q0"]
    assert list(ranking) == ["d2", "d0"]  # the other shares no word
    for name, found in ranking.items():
        assert found == pytest.approx(score(["sort", "mail"], tokens[int(name[1:])]), abs=1e-5)


def test_rankings_of_real_code_are_those_of_bm25s_itself(functions: EvalSet) -> None:
    names = list(functions.documents)
    engine = bm25s.BM25()
    engine.index([code_words(text) for text in functions.documents.values()], show_progress=False)
    found = search(list(functions.queries.values()), list(functions.documents.values()))
    for number, text in enumerate(functions.queries.values()):
        known = [word for word in code_words(text) if word in engine.vocab_dict]
        positions, scores = engine.retrieve([known], k=10, show_progress=False)
        expected = {names[n]: score for n, score in zip(positions[0], scores[0], strict=True) if score > 0}
        for name in found[f"q{number}"].keys() & expected.keys():  # of equal scores either may be the tenth
            assert found[f"q{number}"][name] == pytest.approx(expected[name])
        np.testing.assert_allclose(sorted(found[f"q{number}"].values()), sorted(expected.values()), rtol=1e-6)


def test_a_query_without_a_known_word_finds_nothing_and_does_not_spoil_the_others() -> None:
    found = search(["!!!", "date"], ["parse a date", "x"])
    assert found["q0"] == {}
    assert list(found["q1"]) == ["d0"]


def test_candidates_alone_compete_even_when_others_score_better() -> None:
    documents = ["date date date", "date", "parse a date"]
    assert list(search(["date"], documents, top_k=1, top_ranked={"q0": ["d2"]})["q0"]) == ["d2"]


def test_a_corpus_without_a_word_is_searched_in_vain() -> None:
    assert search(["date"], ["", "+++"]) == {"q0": {}}


def test_a_query_with_candidates_is_answered_out_of_these_alone() -> None:
    place = {"a": 0, "b": 1, "c": 2}
    assert places_among(place, "q", None).tolist() == [0, 1, 2]
    assert places_among(place, "q", {"q": ["c", "a"], "r": ["b"]}).tolist() == [2, 0]
