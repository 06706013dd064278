"""What keeps a definition out of the mined pairs. Every reason has a name, and mining counts each."""

import html
import re

from codequarry.data.definitions import Definition

MIN_WORDS = 3
MAX_QUERY = 600  # characters of a comment's first paragraph
MIN_LINES = 3  # lines that are not blank
MAX_CODE = 6_000  # characters, about 2,000 tokens

_PARAGRAPH_END = re.compile(
    r"^\s*(@\w+|\\(param|return|brief)|:\w[\w ]*:(?!`)|(args|arguments|parameters|params|returns?|raises"
    r"|yields?|examples?|usage|notes?|attributes|see also|safety|panics|errors|throws|todo)\s*:?\s*$"
    r"|[-=~#*]{3,}|#+ |```|>>>|\.\. )",
    re.IGNORECASE | re.MULTILINE,
)
_ROLE = re.compile(r":\w+(?::\w+)?:`~?([^`]*)`")
_INLINE_TAG = re.compile(r"\{@(?:link|code|linkplain|literal|see)\s+([^}]*)\}")
_RST_LINK = re.compile(r"`([^`<]+?)\s*<[^>]+>`__?")
_HTML_TAG = re.compile(
    r"</?(p|code|pre|b|i|em|strong|tt|br|ul|ol|li|a|div|span|table|tr|td|th|h[1-6]|blockquote|sub|sup|dl|dt|dd)"
    r"(\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_LINK = re.compile(r"\[([^\]]+)\](?:\([^)\s]+\)|\[[^\]]*\])")
_BOILERPLATE = re.compile(
    r"(see (the )?(base|super|parent)\b|(inherits?|inherited|overridden) (doc|from)\b|\{?@inheritdoc"
    r"|noqa|type: ignore|todo\b|fixme\b|xxx\b|hack\b|copyright\b|spdx-|licensed under|all rights reserved"
    r"|(this (file|code) is )?(auto-?)?generated\b|copied from\b|adapted from\b|deprecated\b"
    r"|((see|for|from|cf\.?) )?https?://\S+$|same as (above|in|the)\b|not implemented\b|non-javadoc"
    r"|override\b|abstract method\b|(class )?constructor\b\W*$|docstring\b)",
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
    r"(return\s+)?[&*]?((this|self|super|cls|m)\s*(\.|->)\s*)?[\w.]+(\(\))?(\s*=\s*[\w.]+)?\s*;?"
)


def query_of(comment: str) -> str:
    """The first paragraph of a comment in one line, as a person would type it: no markup, no parameters."""
    paragraph = re.split(r"\n\s*\n", comment.strip(), maxsplit=1)[0]
    paragraph = re.sub(r"^\s*[@\\](brief|description|summary|desc)\s+", "", paragraph, flags=re.IGNORECASE)
    end = _PARAGRAPH_END.search(paragraph)
    text = paragraph[: end.start()] if end else paragraph
    for markup in (_ROLE, _RST_LINK, _INLINE_TAG, _LINK):
        text = markup.sub(r"\1", text)
    text = html.unescape(_HTML_TAG.sub(" ", text)).replace("``", "`")
    return " ".join(text.split())


def reason_against_comment(query: str) -> str | None:
    """Why a comment's first paragraph is no query; None when it is one."""
    if not query:
        return "comment: none"
    if not any(letter.isalpha() for letter in query):
        return "comment: no letters"
    if len(re.findall(r"[^\W\d_]\w*", query)) < MIN_WORDS:
        return f"comment: under {MIN_WORDS} words"
    if len(query) > MAX_QUERY:
        return f"comment: over {MAX_QUERY} characters"
    if _BOILERPLATE.match(query):
        return "comment: boilerplate"
    if _CODE_AS_COMMENT.search(query):
        return "comment: code, not words"
    return None


def reason_against_code(definition: Definition) -> str | None:
    """Why a function is too little or too much to learn from; None when it is neither."""
    lines = [line for line in definition.bare_code.split("\n") if line.strip()]
    if len(lines) < MIN_LINES:
        return f"code: under {MIN_LINES} lines"
    if len(definition.bare_code) > MAX_CODE:
        return f"code: over {MAX_CODE} characters"
    if _STUB.search(definition.bare_code.rstrip()[-400:]):
        return "code: empty body"
    # Three lines of which one does something: a brace behind it, or a decorator before it.
    body = lines[1] if lines[-1].strip() in ("}", "};") else lines[-1] if lines[0].startswith("@") else "…"
    if len(lines) == MIN_LINES and _TRIVIAL_BODY.fullmatch(body.strip()):
        return "code: getter or setter"
    return None
