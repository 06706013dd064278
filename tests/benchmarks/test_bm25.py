import math

import pytest

from codequarry.benchmarks.bm25 import bm25_rankings, code_words


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

    (ranking,) = bm25_rankings(["sortMail"], documents, top=3)
    assert [position for position, _ in ranking] == [2, 0, 1]
    for position, found in ranking:
        assert found == pytest.approx(score(["sort", "mail"], tokens[position]), abs=1e-5)


def test_a_query_without_a_word_does_not_spoil_the_others() -> None:
    empty, other = bm25_rankings(["!!!", "date"], ["parse a date", "x"], top=2)
    assert all(score == 0 for _, score in empty)
    assert other[0][0] == 0
