"""An evaluation set: queries, documents and which document answers which query, in the BEIR layout on disk.

SET/corpus.jsonl     {"_id": "d0", "title": "", "text": "def add(a, b): return a + b"}
SET/queries.jsonl    {"_id": "q0", "text": "add two numbers", "language": "python"}
SET/qrels/test.tsv   query-id <tab> corpus-id <tab> score, with these names in the first line
SET/set.json         {"task": "nl2code", …}: which of our five tasks it is, and where it comes from
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codequarry.common.errors import UserError
from codequarry.common.files import atomic_path
from codequarry.data.pair import Pair
from codequarry.modules.tasks import TASKS, get_task

CORPUS, QUERIES, QRELS = Path("corpus.jsonl"), Path("queries.jsonl"), Path("qrels/test.tsv")
ABOUT = "set.json"


@dataclass(frozen=True)
class EvalSet:
    """Queries and documents by id, and the documents that answer each query.

    name: the set's, one word; also its folder's.
    task: one of the five of `codequarry.modules.tasks`.
    queries, documents: texts by id, without prefixes.
    relevant: by query id the ids of its documents, each with its gain, 1 or more.
    languages: by query id the programming language, {} where the set does not say.
    candidates: by query id the documents that compete for it, {} where all do; kept in memory only.

    Raises UserError for an unknown task, an empty side, a blank query, a query without a document, and a
    judgment about an id that is not there.
    """

    name: str
    task: str
    queries: Mapping[str, str]
    documents: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    languages: Mapping[str, str] = field(default_factory=dict)
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        get_task(self.task)
        for side, texts in (("query", self.queries), ("document", self.documents)):
            if not texts:
                raise UserError(f"The set {self.name} has no {side}: there is nothing to score.")
        blank = [query for query, text in self.queries.items() if not text.strip()]
        if blank:
            raise UserError(f"{_first(blank, 'query')} of {self.name}: the text is blank.")
        unanswered = [query for query in self.queries if not self.relevant.get(query)]
        if unanswered:
            raise UserError(
                f"{_first(unanswered, 'query')} of {self.name}: no document answers it. Add a line to "
                f"{QRELS} for each, or leave them out of {QUERIES}."
            )
        unknown = sorted(set(self.relevant) - set(self.queries))
        if unknown:
            raise UserError(f"{_first(unknown, 'query')} in {QRELS} of {self.name}: not in {QUERIES}.")
        absent = sorted({d for found in self.relevant.values() for d in found} - set(self.documents))
        if absent:
            raise UserError(f"{_first(absent, 'document')} in {QRELS} of {self.name}: not in {CORPUS}.")


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


def pair_sets(pairs: Iterable[Pair]) -> list[EvalSet]:
    """One set per task, in the order of the tasks, by `set_of_pairs`; negatives of pairs are distractors.

    Raises UserError where there is no pair.
    """
    by_task: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_task.setdefault(pair.task, []).append(pair)
    if not by_task:
        raise UserError("there is no pair to score: pass a file or folder of pairs that is not empty.")
    return [
        set_of_pairs(
            task,
            task,
            [(pair.query, pair.document, pair.language) for pair in by_task[task]],
            [text for pair in by_task[task] for text in pair.negatives],
        )
        for task in TASKS
        if task in by_task
    ]


OTHERS = 1_500  # documents of a sample that answer none of its queries


def sample_of(found: EvalSet, queries: int, others: int = OTHERS) -> EvalSet:
    """A fixed sample of a set: the same for every model, machine and order of the files.

    Texts are chosen by the hash of their ids, so a sample of more queries holds those of fewer.

    Arguments:
        queries: at most this many.
        others: documents at most, besides those that answer one of the queries.

    Raises UserError for less than one query, a negative number of others, and a set with candidates.
    """
    if queries < 1 or others < 0:
        raise UserError(f"a sample of {queries} queries and {others} other documents: pass 1 and 0 or more.")
    if found.candidates:
        raise UserError(f"The set {found.name} names candidates for its queries: it is scored whole.")

    def lot(name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()

    chosen = set(sorted(found.queries, key=lot)[:queries])
    answers = {document for query in chosen for document in found.relevant[query]}
    kept = answers | set(sorted(set(found.documents) - answers, key=lot)[:others])
    return EvalSet(
        found.name,
        found.task,
        {name: text for name, text in found.queries.items() if name in chosen},
        {name: text for name, text in found.documents.items() if name in kept},
        {name: gains for name, gains in found.relevant.items() if name in chosen},
        {name: language for name, language in found.languages.items() if name in chosen},
    )


def eval_set_folders(path: Path) -> list[Path]:
    """The sets at a path: the folder itself where it is one, else those directly in it, by name.

    Raises UserError where there is none.
    """
    if (path / CORPUS).is_file():
        return [path]
    # A name with a dot in front is a set that was being written when its process died.
    inside = (file.parent for file in path.glob(f"*/{CORPUS}")) if path.is_dir() else ()
    found = sorted(folder for folder in inside if not folder.name.startswith("."))
    if not found:
        raise UserError(
            f"{path} holds no evaluation set: expected a folder with {CORPUS}, {QUERIES} and {QRELS}, or a "
            "folder of such folders. `codequarry data build eval --out DIR` makes some."
        )
    return found


def read_eval_set(folder: Path, task: str | None = None) -> EvalSet:
    """The evaluation set in a folder.

    task: which of the five it is, for a folder whose `set.json` does not say.

    Raises UserError, with file and line, for what is missing, malformed, given twice or unanswered.
    """
    about: dict[str, Any] = {}
    if (folder / ABOUT).is_file():
        about = _object(folder / ABOUT, 1, (folder / ABOUT).read_bytes())
    task = about.get("task", task)
    if task is None:
        raise UserError(
            f'{folder} does not say which task it is: write {{"task": "nl2code"}}, or another of the five, '
            f"to {folder / ABOUT}."
        )
    languages: dict[str, str] = {}
    queries = _texts(folder / QUERIES, languages)
    documents = _texts(folder / CORPUS)
    return EvalSet(folder.name, task, queries, documents, _judgments(folder / QRELS), languages)


def write_eval_set(folder: Path, found: EvalSet, about: Mapping[str, Any]) -> None:
    """Write a set in the BEIR layout; the folder appears whole or not at all, an older one is replaced.

    about: what `set.json` says besides the task: where the set comes from, its licence.

    Raises UserError for a set with candidates, which the layout has no place for.
    """
    if found.candidates:
        raise UserError(f"The set {found.name} names candidates for its queries: BEIR has no place for them.")
    queries = [
        {"_id": name, "text": text} | ({"language": found.languages[name]} if name in found.languages else {})
        for name, text in found.queries.items()
    ]
    documents = [{"_id": name, "title": "", "text": text} for name, text in found.documents.items()]
    judged = [
        f"{query}\t{document}\t{gain}\n"
        for query, documents_of in found.relevant.items()
        for document, gain in documents_of.items()
    ]
    record = {"task": found.task, **about}
    retired = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    with atomic_path(folder) as temporary:
        (temporary / QRELS).parent.mkdir(parents=True)
        for place, rows in ((QUERIES, queries), (CORPUS, documents)):
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (temporary / place).write_bytes("".join(lines).encode())
        (temporary / QRELS).write_bytes(b"query-id\tcorpus-id\tscore\n" + "".join(judged).encode())
        (temporary / ABOUT).write_bytes(json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n")
        if folder.exists():
            folder.rename(retired)
    shutil.rmtree(retired, ignore_errors=True)


def _texts(file: Path, languages: dict[str, str] | None = None) -> dict[str, str]:
    """The texts by id; `languages` gets the programming language of those that say it."""
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(file):
        row = _object(file, number, line)
        name, text, title = row.get("_id"), row.get("text"), row.get("title") or ""
        if not isinstance(name, str) or not isinstance(text, str) or not isinstance(title, str):
            raise UserError(f"{file}:{number}: expected an object with the strings _id and text.")
        if name in found:
            raise UserError(
                f"{file}:{number}: the id {name!r} was given in line {lines[name]} already: ids are unique."
            )
        found[name] = f"{title}\n{text}" if title else text
        lines[name] = number
        if languages is not None and isinstance(row.get("language"), str):
            languages[name] = row["language"]
    return found


def _judgments(file: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for number, line in _lines(file):
        cells = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
        if number == 1 and cells[0] == "query-id":
            continue
        if len(cells) != 3 or not cells[2].lstrip("-").isdigit():
            raise UserError(
                f"{file}:{number}: expected query id, document id and a whole number, with tabs between "
                f"them; found {len(cells)} cell(s)."
            )
        if int(cells[2]) > 0:
            found.setdefault(cells[0], {})[cells[1]] = int(cells[2])
    return found


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    if not file.is_file():
        raise UserError(f"{file} is not there: an evaluation set has {CORPUS}, {QUERIES} and {QRELS}.")
    with file.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            if not line.isspace():
                yield number, line


def _object(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # UnicodeDecodeError too
        raise UserError(f"{file}:{number}: not JSON in UTF-8 ({error}).") from error
    if not isinstance(row, dict):
        raise UserError(f"{file}:{number}: expected an object, found {type(row).__name__}.")
    return row


def _first(names: list[str], what: str) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{what.capitalize()} {names[0]!r}{more}"
