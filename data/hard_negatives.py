"""Documents that look right for a query and are wrong, found by a model and stored in `Pair.negatives`.

sentence-transformers' miner does the search. Its `cache_folder` is not used: the cache's key leaves out the
weights, so that a second model gets the negatives of the first.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.files import write_text
from codequarry.data.deduplication import tokens
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs, write_pairs
from codequarry.modules.tasks import prompt_name

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_QUERIES_AT_ONCE = 1024  # rows of the similarity matrix: 400 MB against 100,000 documents
_PAIRS, _KEY = "negatives.jsonl.gz", "negatives.json"


def mine_negatives(
    pairs: Sequence[Pair],
    model: "SentenceTransformer",
    *,
    per_pair: int = 1,
    margin: float = 0.05,
    absolute_margin: float | None = None,
    range_min: int = 0,
    range_max: int = 50,
    across_sources: bool = False,
    batch_size: int = 64,
) -> list[Pair]:
    """The same pairs, each with up to `per_pair` negatives, the hardest first; earlier ones are replaced.

    A negative is a document of another query of the same source and task. Whatever scores nearly as high as
    the pair's own document may well be right too: the margins keep it out (NV-Retriever, arXiv 2407.15831).
    So do the answers of every query with the same words. A pair for which nothing is left has none.

    Arguments:
        model: any `SentenceTransformer`; both sides get its own prompts for the pair's task, or its plain
            `query` and `document` prompts where it has none by task.
        per_pair: documents.
        margin: share of the positive's score by which a negative must lie below it; 0 for any lower one.
        absolute_margin: the same as a difference of cosines; None for no such rule. Both hold if both are
            given.
        range_min, range_max: the nearest documents by rank that are looked at, the first at 0.
        across_sources: search the documents of all sources of the task.
        batch_size: texts per forward pass.

    The same pairs and model give the same negatives.

    >>> mine_negatives(pairs, codequarry.load("mini"), per_pair=4)
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, pair in enumerate(pairs):
        groups[pair.task, "" if across_sources else pair.source].append(position)
    found = [replace(pair, negatives=()) for pair in pairs]
    for (task, _), positions in groups.items():
        mined = _mine_group(
            [pairs[position] for position in positions],
            model,
            task,
            num_negatives=per_pair,
            relative_margin=margin,
            absolute_margin=absolute_margin,
            range_min=range_min,
            range_max=max(range_max, range_min + per_pair),
            batch_size=batch_size,
        )
        for position, negatives in zip(positions, mined, strict=True):
            found[position] = replace(found[position], negatives=negatives)
    return found


def negatives_kept_in(
    folder: Path, pairs: Sequence[Pair], model: "SentenceTransformer", weights: str, **settings: Any
) -> list[Pair]:
    """`mine_negatives(pairs, model, **settings)`, or what it gave before and left in `folder`.

    weights: a fingerprint of the model. The content of the folder is used only when these, the pairs and the
        settings are the same; otherwise it is mined again and replaced.
    """
    content = hashlib.sha256(json.dumps([weights, settings], sort_keys=True).encode())
    for pair in pairs:
        content.update(json.dumps(pair.to_record()).encode())
    key = content.hexdigest()
    if (folder / _KEY).is_file() and json.loads((folder / _KEY).read_text("utf-8"))["key"] == key:
        return read_pairs(folder / _PAIRS).pairs
    (folder / _KEY).unlink(missing_ok=True)
    mined = mine_negatives(pairs, model, **settings)
    write_pairs(folder / _PAIRS, mined)
    record = {"key": key, "pairs": len(mined), "with_negatives": sum(bool(pair.negatives) for pair in mined)}
    write_text(folder / _KEY, json.dumps(record) + "\n")
    return mined


def _mine_group(
    pairs: Sequence[Pair], model: "SentenceTransformer", task: str, **settings: Any
) -> list[tuple[str, ...]]:
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    if len({pair.document for pair in pairs}) < 2:
        return [()] * len(pairs)
    # One spelling for queries with the same words: the miner then knows the answers of all of them.
    spelling: dict[tuple[str, ...], str] = {}
    queries = [spelling.setdefault(tuple(tokens(pair.query)), pair.query) for pair in pairs]
    documents = [pair.document for pair in pairs]
    triplets = mine_hard_negatives(
        Dataset.from_dict({"query": queries, "document": documents}),
        model,
        query_prompt=model.prompts.get(prompt_name(task, "query")),
        corpus_prompt=model.prompts.get(prompt_name(task, "document")),
        output_format="triplet",
        faiss_batch_size=_QUERIES_AT_ONCE,
        verbose=False,
        **settings,
    )
    negatives: dict[tuple[str, str], list[str]] = defaultdict(list)
    for query, document, negative in zip(*(triplets[name] for name in triplets.column_names), strict=True):
        if negative not in negatives[query, document]:
            negatives[query, document].append(negative)
    return [tuple(negatives[one]) for one in zip(queries, documents, strict=True)]
