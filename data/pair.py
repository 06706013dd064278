"""One training pair: a query and the document that answers it, for one task, without prefixes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from codequarry.common.errors import UserError, did_you_mean
from codequarry.modules.tasks import TASKS, get_task


@dataclass(frozen=True, slots=True)
class Pair:
    """A query, its document, and what they are.

    task: one of the five of `codequarry.modules.tasks`.
    query, document: as a user would write them; the task's prefixes are added by the model.
    source: where the pair comes from, one name per data set or checkout.
    language: programming language in lower case, or a word for prose.
    negatives: documents that look right for this query and are wrong; () for none.

    Raises UserError for an unknown task and for a text that is blank, no string, or not valid Unicode.

    >>> Pair("nl2code", "add two numbers", "def add(a, b): return a + b", "example", "python").task
    'nl2code'
    """

    task: str
    query: str
    document: str
    source: str
    language: str
    negatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in REQUIRED:
            _check_text(name, getattr(self, name))
        if self.task not in TASKS:
            get_task(self.task)  # raises the sentence that names the five
        if not isinstance(self.negatives, tuple):
            raise UserError(
                f"'negatives' is {_shown(self.negatives)}: pass a tuple of strings, () where there are none."
            )
        for number, negative in enumerate(self.negatives, 1):
            _check_text(f"negatives, item {number}", negative)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Pair":
        """The pair in a record, as a line of a pair file holds it; negatives that are None are absent.

        Raises UserError for a missing field, for an unknown one with the nearest right name, and for
        whatever a pair itself refuses.
        """
        if not isinstance(record, Mapping):
            raise UserError(f"The record is {_shown(record)}: expected an object with {', '.join(REQUIRED)}.")
        for name in record:
            if name not in FIELDS:
                hint = did_you_mean(name, FIELDS)
                raise UserError(
                    f"{name!r} is not a field of a pair.{hint} The fields are {', '.join(FIELDS)}."
                )
        missing = [name for name in REQUIRED if name not in record]
        if missing:
            raise UserError(f"The record lacks {', '.join(missing)}: a pair has {', '.join(REQUIRED)}.")
        negatives = record.get("negatives")
        if negatives is None:
            negatives = ()
        if not isinstance(negatives, list | tuple):
            raise UserError(f"'negatives' is {_shown(negatives)}: expected a list of strings.")
        return cls(**{**record, "negatives": tuple(text for text in negatives if text is not None)})

    def to_record(self) -> dict[str, Any]:
        """The pair as plain data, ready for JSON; `negatives` only where there are some."""
        record: dict[str, Any] = {name: getattr(self, name) for name in REQUIRED}
        return record | {"negatives": list(self.negatives)} if self.negatives else record


FIELDS = tuple(field.name for field in fields(Pair))
REQUIRED = FIELDS[:-1]


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise UserError(f"{name!r} is {_shown(text)}: expected a string.")
    if not text or text.isspace():
        raise UserError(f"{name!r} is blank: a pair needs text there.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as broken:
            raise UserError(
                f"{name!r} holds half a surrogate pair at character {broken.start}, which no tokenizer "
                f"takes: write the text in UTF-8."
            ) from broken


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
