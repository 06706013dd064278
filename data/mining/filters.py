"""What keeps a function, or a comment on one, out of the mined pairs."""

import re

from codequarry.data.definitions import Definition
from codequarry.data.mining.english import is_english
from codequarry.data.mining.reasons import Filter

MIN_WORDS = 3
MAX_QUERY = 600  # characters of a comment's first paragraph
MIN_LINES = 3  # lines that are not blank
MAX_CODE = 6_000  # characters, about 2,000 tokens

_LICENCE = re.compile(
    r"copyright\b|spdx-|licen[sc]ed? (under|to)\b|all rights reserved|permission is hereby granted"
    r"|this (file|program|library|software) is (part of|free software|licensed|distributed)",
    re.IGNORECASE,
)
_GENERATED = re.compile(
    r"@generated\b|<auto-?generated|do not edit\b|required method for designer support\b"
    r"|(this (file|code|method|function|class) (is|was|has been) )?"
    r"(auto-?generated\b|(automatically )?generated (by|from|code|file|automatically|method stub)\b)",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"(see (the )?(base|super|parent)\b|(inherits?|inherited|overridden) (doc|from)\b|\{?@inheritdoc"
    r"|noqa|type: ignore|todo\b|fixme\b|xxx\b|hack\b|copied from\b|adapted from\b|deprecated\b"
    r"|((see|for|from|cf\.?) )?https?://\S+$|same as (above|in|the)\b|not implemented\b|non-javadoc"
    r"|override\b|abstract method\b|(class )?constructor\b\W*$|docstring\b"
    r"|(initiali[sz]es|creates) a new instance of the \S+ class)",
    re.IGNORECASE,
)
_CODE_AS_COMMENT = re.compile(
    r"[;{}]\s*$|^(if|for|while|switch)\s*\(|^(import|from)\s+[\w.]+(\s+import\b.*)?$"
    r"|^((var|let|const)\s+)?[\w.\[\]]+\s*=\s|^[\w.]+\([^)]*\)$"
)
_STUB = re.compile(
    r"^(\)|def |async def )[^\n]*:\n\s+(\.\.\.|pass|raise NotImplementedError[^\n]*)$|=\s*(default|delete);",
    re.MULTILINE,
)
_TRIVIAL_BODY = re.compile(
    r"(return\s+)?[&*]?((this|self|super|cls|m)\s*(\.|->)\s*)?[\w.$@>-]+(\(\))?(\s*=\s*[\w.$]+)?\s*;?"
)
_WORD = re.compile(r"[^\W\d_]\w*")


def _is_accessor(definition: Definition) -> bool:
    """Three lines of which one does something: a brace or `end` behind it, or a decorator before it."""
    lines = [line for line in definition.bare_code.split("\n") if line.strip()]
    closed = lines[-1].strip() in ("}", "};", "end")
    body = lines[1] if closed else lines[-1] if lines[0].startswith("@") else "…"
    return len(lines) == MIN_LINES and _TRIVIAL_BODY.fullmatch(body.strip()) is not None


COMMENT_FILTERS: tuple[Filter[str], ...] = (
    Filter("comment: none", "the function has no comment, or one without words", lambda query: not query),
    Filter(
        "comment: no letters",
        "only digits and signs",
        lambda query: not any(letter.isalpha() for letter in query),
    ),
    Filter(
        f"comment: under {MIN_WORDS} words", "too short", lambda query: len(_WORD.findall(query)) < MIN_WORDS
    ),
    Filter(
        f"comment: over {MAX_QUERY} characters", "its first paragraph", lambda query: len(query) > MAX_QUERY
    ),
    Filter(
        "comment: licence header",
        "it states a copyright or a licence",
        lambda query: _LICENCE.search(query) is not None,
    ),
    Filter("comment: auto-generated", "a tool wrote it", lambda query: _GENERATED.match(query) is not None),
    Filter(
        "comment: boilerplate",
        "it says TODO, see base class, a bare link or the like",
        lambda query: _BOILERPLATE.match(query) is not None,
    ),
    Filter(
        "comment: code, not words",
        "code that was commented out",
        lambda query: _CODE_AS_COMMENT.search(query) is not None,
    ),
    Filter("comment: not English", "prose in another language", lambda query: not is_english(query)),
)
CODE_FILTERS: tuple[Filter[Definition], ...] = (
    Filter(
        f"code: under {MIN_LINES} lines",
        "too short: nothing to tell it by",
        lambda one: sum(bool(line.strip()) for line in one.bare_code.split("\n")) < MIN_LINES,
    ),
    Filter(
        f"code: over {MAX_CODE} characters",
        "too long for what a model reads",
        lambda one: len(one.bare_code) > MAX_CODE,
    ),
    Filter(
        "code: empty body",
        "a stub that passes, raises NotImplementedError or is deleted",
        lambda one: _STUB.search(one.bare_code.rstrip()[-400:]) is not None,
    ),
    Filter("code: getter or setter", "one line that gives or takes a field", _is_accessor),
)
