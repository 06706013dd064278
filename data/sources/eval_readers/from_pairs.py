"""An evaluation set from pairs: equal texts become one query or one document, and every pair a judgment."""

from collections.abc import Iterable

from codequarry.data.eval_set import EvalSet


def set_of_pairs(
    name: str, task: str, pairs: Iterable[tuple[str, str, str]], documents: Iterable[str] = ()
) -> EvalSet:
    """The set of these (query, document, language) triples, numbered in the order in which they come.

    Two pairs with the same query make one query with two right answers; two with the same document share it.
    Without this a right answer would count as a wrong one.

    Arguments:
        pairs: the language is "" where the source does not say.
        documents: what is numbered before the documents of the pairs; those that no pair names are
            distractors.
    """
    query_ids: dict[str, str] = {}
    document_ids: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    languages: dict[str, str] = {}
    for text in documents:
        document_ids.setdefault(text, f"d{len(document_ids)}")
    for query, document, language in pairs:
        query_id = query_ids.setdefault(query, f"q{len(query_ids)}")
        document_id = document_ids.setdefault(document, f"d{len(document_ids)}")
        relevant.setdefault(query_id, {})[document_id] = 1
        if language:
            languages.setdefault(query_id, language)
    return EvalSet(
        name,
        task,
        {label: text for text, label in query_ids.items()},
        {label: text for text, label in document_ids.items()},
        relevant,
        languages,
    )
