"""The pairs of one function: with its comment, with its other half, its signature with its body."""

from collections import Counter
from collections.abc import Collection, Iterator

from codequarry.data.mining.filters import CODE_FILTERS, COMMENT_FILTERS, MIN_LINES, count_lines, query_of
from codequarry.data.mining.schema import KINDS, MinedPair, Reason, first_reason
from codequarry.data.pair import Pair
from codequarry.data.parsing.definitions import Definition, dedent
from codequarry.data.parsing.parse import SourceFile, cut_in_two

MIN_LINES_TO_CUT = 12  # of a function without its docstring, blank lines left out
MAX_SIGNATURE = 2_000  # characters, docstring included
TOO_SHORT_TO_CUT = Reason(
    f"completion: under {MIN_LINES_TO_CUT} lines", "its halves would say too little to find each other"
)
NO_CUT = Reason("completion: no statement begins near the middle", "a cut would go through a statement")
NO_BODY = Reason(
    f"signature: body under {MIN_LINES} lines", "the body is too short, or shares a line with the signature"
)
LONG_SIGNATURE = Reason(f"signature: over {MAX_SIGNATURE} characters", "with its docstring")
FUNCTION_REASONS = (TOO_SHORT_TO_CUT, NO_CUT, NO_BODY, LONG_SIGNATURE)


def pairs_of_file(
    source: SourceFile, name: str, kinds: Collection[str], filtered: Counter[str]
) -> Iterator[MinedPair]:
    """Pairs of every function of a file; `filtered` counts what was left out.

    name: what the pairs' source is called.
    kinds: the kinds that are wanted; those made of more than one function are not made here.
    """
    lines = source.text.split("\n")
    for definition in source.definitions:
        if definition.kind == "class":
            continue
        for kind, query, document in _texts(definition, source.language, lines, kinds, filtered):
            pair = Pair(KINDS[kind].task, query, document, name, source.language)
            prose = {"docstring": query, "comment": document}.get(kind)
            origins = (definition.bare_code, prose) if prose else (definition.bare_code,)
            yield MinedPair(kind, source.path, origins, pair)


def _texts(
    definition: Definition, language: str, lines: list[str], kinds: Collection[str], filtered: Counter[str]
) -> Iterator[tuple[str, str, str]]:
    """Kind, query and document."""
    code = definition.bare_code
    reason = first_reason(CODE_FILTERS, definition)
    if reason:
        filtered[reason] += 1
        return
    if not {"docstring", "comment", "signature"}.isdisjoint(kinds):
        query = query_of(definition.comment)
        reason = first_reason(COMMENT_FILTERS, query)
        if reason:
            filtered[reason] += 1
        else:
            if "docstring" in kinds:
                yield "docstring", query, code
            if "comment" in kinds:
                yield "comment", code, query
            if "signature" in kinds:
                yield from _signature_and_body(definition, lines, filtered)
    if "completion" in kinds:
        if count_lines(code) < MIN_LINES_TO_CUT:
            filtered[TOO_SHORT_TO_CUT.name] += 1
        elif (halves := cut_in_two(code, language)) is None:
            filtered[NO_CUT.name] += 1
        else:
            yield "completion", *halves


def _signature_and_body(
    definition: Definition, lines: list[str], filtered: Counter[str]
) -> Iterator[tuple[str, str, str]]:
    """The comment as it is written and the lines before the body; the body."""
    code = definition.code.split("\n")
    at = definition.body_line - definition.start_line
    body = "\n".join(code[at:]).strip("\n")
    if definition.body_line == 0 or count_lines(body) < MIN_LINES:
        filtered[NO_BODY.name] += 1
        return
    first, last = definition.comment_start_line, definition.comment_end_line
    above = dedent(lines[first - 1 : last]) + "\n" if last < definition.start_line else ""
    signature = above + "\n".join(code[:at]).rstrip()
    if len(signature) > MAX_SIGNATURE:
        filtered[LONG_SIGNATURE.name] += 1
    else:
        yield "signature", signature, body
