"""Which weights of BM25 and of the second stage serve the cascade best, by task, on held-out training pairs.

    python -m codequarry.benchmarks.fusion_weights --pairs clean --model pico

Queries and documents are the pairs that training of the static model holds out, by the same split. Each
weight of `search/fusion_weights.toml` is swept over a grid; what it should be is for a person to decide, who
sees how flat the curve is. Evaluation sets take no part.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codequarry.common.environment import origin, written_command
from codequarry.common.errors import UserError, run_program
from codequarry.common.files import write_json
from codequarry.common.tables import markdown_table
from codequarry.data.catalog.registry import known_licences
from codequarry.data.mixture import select
from codequarry.data.pair_files import read_pair_folders
from codequarry.data.validation_split import split
from codequarry.inference.encoder import Encoder
from codequarry.inference.open import open_light, open_static
from codequarry.search.fusion import fuse
from codequarry.search.lexical import LexicalIndex, bag
from codequarry.search.rerank import CANDIDATES

GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5)
RESULTS = Path(__file__).with_name("results") / "fusion_weights.json"

Matrix = NDArray[np.float32]


class Task:
    """The held-out pairs of one task, with the scores of every query and document by each ranking.

    dense, lexical: `(queries, documents)`. relevant: the same shape, whether a document answers the query.
    """

    def __init__(self, name: str, pairs: Sequence[tuple[str, str]], static: Any, most: int) -> None:
        self.name = name
        self.queries = list(dict.fromkeys(query for query, _ in pairs))
        self.documents = list(dict.fromkeys(document for _, document in pairs))
        places = {text: place for place, text in enumerate(self.documents)}
        rows = {text: place for place, text in enumerate(self.queries)}
        self.relevant = np.zeros((len(self.queries), len(self.documents)), bool)
        for query, document in pairs:
            self.relevant[rows[query], places[document]] = True
        self.queries, self.relevant = self.queries[:most], self.relevant[:most]
        documents = static.encode(self.documents, name, "document", empty="zero")
        self.dense: Matrix = static.encode(self.queries, name, "query", empty="zero") @ documents.T
        index = LexicalIndex([bag(ids) for ids in static.token_ids(self.documents)])
        self.lexical: Matrix = np.stack([index.scores(ids) for ids in static.token_ids(self.queries)])

    def second(self, weight: float) -> Matrix:
        """The fused scores of the second stage."""
        pairs = zip(self.dense, self.lexical, strict=True)
        return np.stack([fuse(dense, words, weight) for dense, words in pairs])

    def strong(self, model: Any) -> Matrix:
        """The similarities of a strong model."""
        encoder = Encoder(model)
        space = encoder.space(self.name)
        documents = encoder.encode_documents(self.documents, space)
        queries = [encoder.encode_query(query, self.name, space) for query in self.queries]
        found: Matrix = np.stack(queries) @ documents.T
        return found

    def ndcg(self, scores: Matrix) -> float:
        """Mean nDCG@10 in percent."""
        order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        discount = 1 / np.log2(np.arange(2, 12))
        gains = (np.take_along_axis(self.relevant, order, axis=1) * discount[: order.shape[1]]).sum(axis=1)
        best = np.cumsum(discount)[np.minimum(self.relevant.sum(axis=1), 10) - 1]
        return float(100 * (gains / best).mean())

    def cascade(self, strong: Matrix, second: Matrix, weight: float) -> float:
        """The nDCG of a cascade whose candidates are the best of `second`."""
        final = np.full_like(strong, -np.inf)
        for row, (similarity, scores) in enumerate(zip(strong, second, strict=True)):
            chosen = np.argsort(-scores, kind="stable")[:CANDIDATES]
            final[row, chosen] = fuse(similarity[chosen], scores[chosen], weight)
        return self.ndcg(final)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this program."""
    add = parser.add_argument
    add("--pairs", type=Path, required=True, help="the folder of pairs that the static model was trained on")
    add("--model", default="pico", help="the static model (default: pico)")
    add("--strong", default="mini", help="the strong model (default: mini)")
    add("--pairs-per-source", type=int, default=300, help="of the split, as it was trained with")
    add("--max-pairs", type=int, default=4000, help="of the split")
    add("--seed", type=int, default=42, help="of the split")
    add("--queries", type=int, default=400, help="of a task that are asked (default: 400)")
    add("--lexical", type=float, default=0.3, help="BM25's weight while the second is swept")
    add("--out", type=Path, default=RESULTS, help="the results file")


def run(arguments: argparse.Namespace) -> None:
    """Sweep both weights of each task, print two lines a task, and write the results file."""
    static = open_static(arguments.model)
    if static is None:
        raise UserError(f"{arguments.model} is no static model: pass pico, or a folder that its recipe made.")
    pairs, _ = select(
        read_pair_folders(arguments.pairs).pairs, licences=known_licences(), allowed="commercial"
    )
    held_out = split(
        pairs,
        per_source_and_task=arguments.pairs_per_source,
        max_pairs=arguments.max_pairs,
        seed=arguments.seed,
        progress=False,
    )
    strong = open_light(arguments.strong)
    rows: list[dict[str, Any]] = []
    for name, texts in held_out.by_task.items():
        task = Task(name, [(query, document) for query, document, *_ in texts], static, arguments.queries)
        similarity, second = task.strong(strong), task.second(arguments.lexical)
        rows.append(
            {
                "task": name,
                "queries": len(task.queries),
                "documents": len(task.documents),
                "bm25": round(task.ndcg(task.lexical), 2),
                "strong": round(task.ndcg(similarity), 2),
                "lexical": {str(weight): round(task.ndcg(task.second(weight)), 2) for weight in GRID},
                "second": {
                    str(weight): round(task.cascade(similarity, second, weight), 2) for weight in GRID
                },
            }
        )
        print(table(rows[-1:]), flush=True)
    write_json(
        arguments.out,
        {**origin(written_command("python -m codequarry.benchmarks.fusion_weights")), "rows": rows},
    )
    print(f"\n{table(rows)}\n\nwrote {arguments.out}")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """nDCG@10 by weight, two lines a task."""
    cells = [
        [row["task"], what, f"{row[beside]:.1f}", *(f"{score:.1f}" for score in row[what].values())]
        for row in rows
        for what, beside in (("lexical", "bm25"), ("second", "strong"))
    ]
    return markdown_table(["task", "weight of", "alone", *map(str, GRID)], cells)


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
