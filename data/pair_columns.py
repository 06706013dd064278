"""Which column of a record is which field of a pair: ours, those that a caller names, or a known layout."""

import argparse
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codequarry.common.errors import UserError, did_you_mean, some
from codequarry.data.pair import FIELDS, REQUIRED, Pair
from codequarry.modules.tasks import TASKS

UNKNOWN = "unknown"  # language of a pair whose record names none


@dataclass(frozen=True)
class Layout:
    """Two columns that are query and document in files made for other tools.

    document: a text, or a list of texts, each of which is a pair.
    origin: whose files have them, in words.
    """

    query: str
    document: str
    origin: str


# The first whose two columns a record has is taken; ours comes before all.
LAYOUTS = (
    Layout("query", "document", "ours"),
    Layout("anchor", "positive", "sentence-transformers"),
    Layout("anchor", "positives", "sentence-transformers"),
    Layout("query", "positive", "sentence-transformers"),
    Layout("query", "pos", "FlagEmbedding"),
    Layout("query", "positives", "lists of positives"),
    Layout("query", "positive_passages", "Tevatron"),
    Layout("query", "passage", "MS MARCO"),
    Layout("query", "answer", "question answering"),
    Layout("query", "response", "question answering"),
    Layout("query", "code", "code search"),
    Layout("question", "answer", "question answering"),
    Layout("question", "positive", "question answering"),
    Layout("question", "code", "code search"),
    Layout("docstring", "code", "code search"),
    Layout("comment", "code", "code search"),
    Layout("func_documentation_string", "func_code_string", "CodeSearchNet"),
    Layout("sentence1", "sentence2", "sentence-transformers"),
    Layout("sentence_0", "sentence_1", "sentence-transformers"),
    Layout("sentence_A", "sentence_B", "sentence-transformers"),
    Layout("text1", "text2", "sentence-transformers"),
    Layout("title", "body", "Stack Exchange"),
)
NEGATIVES = (
    "negatives", "negative", "neg", "negs", "hard_negatives", "hard_negative", "negative_passages",
)  # fmt: skip
_NUMBER = re.compile(r"_?\d+\Z")  # negative_1, negative_2, …
# With one of these a row says whether, or how well, its two texts go together: not every row is a pair.
_SCORES = ("score", "scores", "label", "labels", "similarity", "similarity_score", "relevance")


class ColumnsError(UserError):
    """The columns of a record are not those of a pair: as a rule a fault of the whole file."""


def parse_columns(text: str) -> dict[str, str]:
    """The mapping that `--columns query=anchor,document=positive` gives: columns by field of a pair.

    Raises UserError for what is not `field=column`, and as `check_columns` does.

    >>> parse_columns("query=anchor,document=positive")
    {'query': 'anchor', 'document': 'positive'}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not field or not column:
            raise UserError(
                f"--columns {text!r}: {part!r} is not FIELD=COLUMN: write "
                "--columns query=anchor,document=positive."
            )
        if field in found:
            raise UserError(f"--columns {text!r} names {field} twice.")
        found[field] = column
    check_columns(found)
    return found


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise UserError unless each is a column for a field of a pair, and no two fields have the same."""
    for field, column in columns.items():
        if field not in FIELDS:
            hint = did_you_mean(field, FIELDS)
            raise UserError(
                f"columns: {field!r} is not a field of a pair.{hint} The fields are {', '.join(FIELDS)}; "
                "write each with the column that it is read from, as in query=anchor."
            )
        if not column:
            raise UserError(f"columns: {field} is '': name the column that it is read from.")
    if twice := [column for column, count in Counter(columns.values()).items() if count > 1]:
        raise UserError(f"columns: {twice[0]!r} is named for two fields: each is read from its own column.")


def check_task(task: str | None) -> None:
    """Raise UserError for a task that is none of the five; None is fine."""
    if task is not None and task not in TASKS:
        raise UserError(
            f"task = {task!r} is not a task.{did_you_mean(task, TASKS)} Pass one of {', '.join(TASKS)}."
        )


def offer_columns(parser: argparse.ArgumentParser) -> None:
    """Give a program the options of all that read pairs: `--columns`, `--task` and `--skip-bad`."""
    parser.add_argument(
        "--columns",
        type=_columns_argument,
        metavar="FIELD=COLUMN,…",
        help="columns that are called otherwise, e.g. query=anchor,document=positive; the layouts of "
        "sentence-transformers and of some others are known",
    )
    parser.add_argument("--task", choices=list(TASKS), help="of pairs that name none")
    parser.add_argument("--skip-bad", action="store_true", help="count malformed pairs instead of stopping")


def _columns_argument(text: str) -> dict[str, str]:
    try:
        return parse_columns(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class PairColumns:
    """Makes pairs of records, whatever their columns are called, and remembers what it did with them.

    A value that is None or NaN is absent. A column that is no part of a pair is passed over.

    Arguments:
        columns: names of columns by field of a pair; fields that are not named are looked for under their
            own name, then in the `LAYOUTS`.
        task: of records that name none; None: they are refused.

    >>> PairColumns(task="qa").pairs({"anchor": "why?", "positive": "because"}, "faq")[0].document
    'because'
    """

    def __init__(self, columns: Mapping[str, str] | None = None, task: str | None = None) -> None:
        self.columns = dict(columns or {})
        check_columns(self.columns)
        check_task(task)
        self.task = task
        self._passed_over: dict[str, None] = {}
        self._read: dict[str, None] = {}  # sentences on layouts, in the order in which they were met
        self._absent: Counter[str] = Counter()
        self._with_negatives = False

    def pairs(self, record: Any, source: str) -> list[Pair]:
        """The pairs of a record: one, or one for each of its documents.

        Arguments: `source`, of a record that names none.

        Raises ColumnsError where columns are missing, and UserError for what a pair itself refuses.
        """
        if not isinstance(record, Mapping):
            raise UserError(
                f"The record is {str(record)[:60]!r} ({type(record).__name__}): expected an object with "
                f"{', '.join(REQUIRED)}, one a line."
            )
        given = {name: value for name, value in record.items() if not _is_absent(value)}
        if not self.columns and given.keys() <= _FIELDS and given.keys() >= _REQUIRED:
            return [Pair.from_record(given)]  # as nearly all are
        layout = self._layout(given, record)
        own = {field: self.columns.get(field, field) for field in ("task", "source", "language")}
        fields: dict[str, Any] = {field: given[name] for field, name in own.items() if name in given}
        if "task" not in fields:
            if self.task is None:
                raise ColumnsError(
                    f"The record lacks task, and its columns are {some(list(given), 12)}: pass --task with "
                    f"what the pairs are for, one of {', '.join(TASKS)}, or name its column with --columns "
                    "task=NAME."
                )
            fields["task"] = self.task
        for field, value in (("source", source), ("language", UNKNOWN)):
            if field not in fields:
                fields[field] = value
                self._absent[field] += 1
        negatives = self._negatives(given)
        used = {layout.query, layout.document, *own.values(), *negatives}
        self._passed_over.update(dict.fromkeys(name for name in given if name not in used))
        self._note(layout, negatives)
        fields["query"] = given[layout.query]
        fields["negatives"] = [text for name in negatives for text in _texts(given[name])]
        documents = given[layout.document]
        if isinstance(documents, str) or not isinstance(documents, Sequence):
            documents = [documents]
        elif not documents:
            raise UserError(f"{layout.document!r} is empty: a pair needs a document.")
        return [Pair.from_record(fields | {"document": _text(document)}) for document in documents]

    def notes(self) -> list[str]:
        """What a user should know of how the records were read, in sentences; nothing for our own format."""
        notes = list(self._read)
        if notes and "negatives" in self.columns and not self._with_negatives:
            notes.append(f"no record has {self.columns['negatives']!r}, which was named for negatives.")
        absent = {"source": "the file's name", "language": repr(UNKNOWN)}
        if self._absent:
            told = " and ".join(
                f"{field} ({count:,} records, {absent[field]} is taken)"
                for field, count in self._absent.items()
            )
            notes.append(f"absent: {told}.")
        if self._passed_over:
            names = list(self._passed_over)
            near = [name for name in names if did_you_mean(name, ("negatives",))]
            hint = f" Is {near[0]!r} negatives? Pass --columns negatives={near[0]}." if near else ""
            notes.append(f"columns that are no part of a pair are passed over: {some(names, 8)}.{hint}")
        return notes

    def _layout(self, given: Mapping[str, Any], record: Mapping[str, Any]) -> Layout:
        """Where query and document are in `given`, the cells of `record` that are not null."""
        for field, column in self.columns.items():
            if field in ("query", "document") and column not in given:
                raise ColumnsError(
                    f"The record lacks {column!r}, which was named for {field}, and its columns are "
                    f"{some(list(given), 12)}.{did_you_mean(column, given)}"
                )
        query, document = self.columns.get("query"), self.columns.get("document")
        if query is not None and document is not None:
            return Layout(query, document, "")
        for layout in LAYOUTS:
            found = Layout(query or layout.query, document or layout.document, layout.origin)
            if found.query in given and found.document in given and found.query != found.document:
                if layout is not LAYOUTS[0] and not self.columns:
                    _refuse_scores(layout, given)
                return found
        missing = [field for field in ("query", "document") if self.columns.get(field, field) not in given]
        unknown = [name for name in given if name not in _FIELDS and not _is_negative(name, NEGATIVES)]
        if missing and all(self.columns.get(field, field) in record for field in missing):
            unknown = []  # the columns are there, and null in this record
        raise ColumnsError(_lacking(given, missing or ["document"], unknown))

    def _negatives(self, given: Mapping[str, Any]) -> list[str]:
        """The columns with negatives, those with numbers in their order."""
        named = self.columns.get("negatives")
        taken = set(self.columns.values()) - {named}
        known = (named,) if named else NEGATIVES
        found = [name for name in given if name not in taken and _is_negative(name, known)]
        self._with_negatives |= bool(found)
        return sorted(found, key=lambda name: (_NUMBER.sub("", name), _number(name)))

    def _note(self, layout: Layout, negatives: Sequence[str]) -> None:
        renamed = [
            f"{name} as {field}"
            for name, field in (
                (layout.query, "query"),
                (layout.document, "document"),
                *((name, "negatives") for name in negatives),
            )
            if name != field
        ]
        if renamed:
            whose = f", the layout of {layout.origin}" if layout.origin not in ("", "ours") else ""
            self._read[f"columns are read {', '.join(renamed)}{whose}."] = None


_FIELDS, _REQUIRED = frozenset(FIELDS), frozenset(REQUIRED)


def _is_negative(name: str, known: Sequence[str]) -> bool:
    return name in known or _NUMBER.sub("", name) in known


def _number(name: str) -> int:
    found = _NUMBER.search(name)
    return int(found[0].strip("_")) if found else -1


def _refuse_scores(layout: Layout, given: Mapping[str, Any]) -> None:
    scores = [name for name in _SCORES if isinstance(given.get(name), int | float)]
    if scores:
        raise ColumnsError(
            f"The record has a {scores[0]!r}, by which rows say how well their two texts go together; those "
            f"of a pair always do. Keep the rows that do, and drop {scores[0]!r} or pass --columns "
            f"query={layout.query},document={layout.document}."
        )


def _texts(value: Any) -> Iterator[Any]:
    """The texts of a cell with negatives: one, or a list in which None is absent."""
    items = value if isinstance(value, list | tuple) else [value]
    return (_text(item) for item in items if not _is_absent(item))


def _is_absent(value: Any) -> bool:
    """None, and the NaN that pandas has where a text is missing."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> Any:
    """A text as it is; of a passage (`title`, `text`) its two parts; what is neither, a pair refuses."""
    if not isinstance(value, Mapping) or "text" not in value:
        return value
    title = value.get("title")
    return f"{title}\n{value['text']}" if isinstance(title, str) and title.strip() else value["text"]


def _lacking(given: Mapping[str, Any], missing: Sequence[str], unknown: Sequence[str]) -> str:
    lacks = f"The record lacks {' and '.join(missing)}"
    if not unknown:
        return f"{lacks}: a pair has {', '.join(REQUIRED)}."
    hints = "".join(f" {name!r} is not a field.{did_you_mean(name, missing)}" for name in unknown[:3])
    return (
        f"{lacks}, and its columns are {some(list(given), 12)}.{hints} Name the columns that are called "
        "otherwise, as in --columns query=anchor,document=positive."
    )


def source_name(file: Path) -> str:
    """The source of pairs that name none: the file's name without its ending."""
    return file.name.split(".")[0] or file.name
