"""Two builds of the same evaluation sets side by side: the texts and judgments that both have."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codequarry.data.eval_set import EvalSet, eval_set_folders, read_eval_set
from codequarry.data.sources.eval_rows import EVAL_SOURCES


@dataclass(frozen=True)
class Overlap:
    """How far two builds of one side of a set are the same, in texts; equal texts count once.

    left, right: how many there are.
    exact: how many both have, character by character.
    loose: how many of the left ones the right has when white space does not count.
    """

    left: int
    right: int
    exact: int
    loose: int


@dataclass(frozen=True)
class Comparison:
    """One set in two builds; `judgments` are pairs of a query's and a document's text."""

    name: str
    queries: Overlap
    documents: Overlap
    judgments: Overlap

    @property
    def same(self) -> bool:
        """Whether the two hold the same texts and the same judgments."""
        return all(
            side.left == side.right == side.exact for side in (self.queries, self.documents, self.judgments)
        )


def compare(built: Path, other: Path) -> list[Comparison]:
    """Every set that two folders both have, by name.

    Ids and order do not count, texts do. A set whose folder does not say its task takes it from the rows.

    Raises ValueError where they have no set in common, or one cannot be read.
    """
    left = {folder.name: folder for folder in eval_set_folders(built)}
    right = {folder.name: folder for folder in eval_set_folders(other)}
    common = sorted(left.keys() & right.keys())
    if not common:
        raise ValueError(
            f"{built} ({', '.join(left)}) and {other} ({', '.join(right)}) have no set of the same name."
        )
    return [_compare_sets(_read(left[name]), _read(right[name])) for name in common]


def comparison_table(compared: Sequence[Comparison]) -> str:
    """The comparison as a table in plain text: one line a set and side."""
    lines = [f"{'set':20} {'':10} {'left':>7} {'right':>7} {'shared':>7} {'white-space-blind':>18}"]
    for one in compared:
        for number, (side, overlap) in enumerate(_sides(one).items()):
            name = one.name if number == 0 else ""
            lines.append(
                f"{name:20} {side:10} {overlap.left:7,} {overlap.right:7,} {overlap.exact:7,} "
                f"{overlap.loose:18,}"
            )
    same = sum(one.same for one in compared)
    return "\n".join([*lines, f"{same} of {len(compared)} sets are the same, text by text."])


def comparison_json(compared: Sequence[Comparison]) -> str:
    """The same for programs."""
    return json.dumps([asdict(one) | {"same": one.same} for one in compared], indent=2)


def _sides(one: Comparison) -> Mapping[str, Overlap]:
    return {"queries": one.queries, "documents": one.documents, "judgments": one.judgments}


def _read(folder: Path) -> EvalSet:
    row = EVAL_SOURCES.get(folder.name)
    return read_eval_set(folder, row.task if row is not None else None)


def _compare_sets(left: EvalSet, right: EvalSet) -> Comparison:
    return Comparison(
        left.name,
        _overlap(((text,) for text in left.queries.values()), ((text,) for text in right.queries.values())),
        _overlap(
            ((text,) for text in left.documents.values()), ((text,) for text in right.documents.values())
        ),
        _overlap(_judged(left), _judged(right)),
    )


def _judged(found: EvalSet) -> Iterable[tuple[str, ...]]:
    for query, documents in found.relevant.items():
        for document in documents:
            yield found.queries[query], found.documents[document]


def _overlap(left: Iterable[tuple[str, ...]], right: Iterable[tuple[str, ...]]) -> Overlap:
    a, b = set(left), set(right)
    blind = set(map(_loose, b))
    return Overlap(len(a), len(b), len(a & b), sum(_loose(texts) in blind for texts in a))


def _loose(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("".join(text.split()) for text in texts)
