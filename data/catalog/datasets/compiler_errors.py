"""Microsoft's C++ error reference: a message as the compiler prints it → what its page says."""

import re
from collections.abc import Iterator

from codequarry.data.catalog.datasets.documentation import plain, sections
from codequarry.data.catalog.schema import Files, Git, TrainSource
from codequarry.data.pair import Pair

_QUOTE = re.compile(r"(?:>.*(?:\n|\Z))+")
_TOOL = re.compile(r"^(?:Compiler|Linker Tools)\s+")
_EMPHASIS = re.compile(r"(\*{1,3})(?=\S)([^*\n]+?)\1")
_SHORTEST = 60  # characters of an explanation
_LONGEST = 2_500


def read_errors(files: Files) -> Iterator[Pair]:
    """One pair a page: "Error C2504: 'class' : base class undefined" → the rest of the page, cut at 2,500.

    Pages that only list others, and thus quote no message, are left out.
    """
    for _, content in files:
        parts = [part for part in sections(content.decode("utf-8", "replace")) if part.heading]
        if not parts or parts[0].level != 1:
            continue
        top = parts[0].text.strip()
        message = _QUOTE.match(top)
        if not message:
            continue
        words = " ".join(line.lstrip("> ") for line in message[0].splitlines() if not line.startswith("> [!"))
        below = [f"{'#' * part.level} {part.heading}\n{part.text}" for part in parts[1:]]
        answer = plain("\n".join([top[message.end() :], *below]))
        code = _TOOL.sub("", parts[0].heading)
        printed = _EMPHASIS.sub(r"\2", plain(words))
        query = f"{code}: {printed}" if printed else code
        if len(answer) >= _SHORTEST:
            yield Pair("qa", query, answer[:_LONGEST].rstrip(), "errors_techqa", "cpp")


_CPP = ("MicrosoftDocs/cpp-docs", "a2e592a8fc391b6aff8d1323f5b58696abdc5d57")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="errors_techqa",
        tasks=("qa",),
        where=(Git(*_CPP, ("/docs/error-messages/**/*.md", "!/docs/error-messages/includes/")),),
        licence="CC-BY-4.0",
        languages=("cpp",),
        read=read_errors,
        size=2_471,
        note="Microsoft and contributors; the code in it is MIT. Differs from our first data in pages "
        "that only list others, left out here.",
    ),
)
