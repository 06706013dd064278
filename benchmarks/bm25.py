"""BM25 over code: the score every embedding model has to beat before it is worth its electricity."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[A-Za-z]+|[0-9]+")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def code_words(text: str) -> list[str]:
    """The words of a text in lower case, identifiers cut at underscores and capitals.

    >>> code_words("parseHTTPDate(raw_value2)")
    ['parse', 'http', 'date', 'raw', 'value', '2']
    """
    return [
        part.lower()
        for word in _WORD.findall(text)
        for part in ([word] if word.isdigit() else _HUMP.findall(word))
    ]


def bm25_rankings(
    queries: Sequence[str], documents: Sequence[str], top: int
) -> list[list[tuple[int, float]]]:
    """For each query its best `top` documents, as (position, score), best first.

    BM25 (Robertson and Zaragoza, 2009) with k1 1.5 and b 0.75, as `bm25s` computes it, on `code_words`.
    """
    try:
        import bm25s
    except ImportError as error:
        raise ValueError("BM25 needs one more package: pip install 'codequarry[benchmark]'") from error
    retriever = bm25s.BM25()
    retriever.index([code_words(document) for document in documents], show_progress=False)
    top = min(top, len(documents))
    nothing = [(position, 0.0) for position in range(top)]
    rankings = []
    for query in queries:
        # bm25s refuses a query of which it has no word; such a query finds every document equally little.
        words = [word for word in code_words(query) if word in retriever.vocab_dict]
        if not words:
            rankings.append(nothing)
            continue
        found, scores = retriever.retrieve([words], k=top, show_progress=False)
        rankings.append([(int(n), float(score)) for n, score in zip(found[0], scores[0], strict=True)])
    return rankings
