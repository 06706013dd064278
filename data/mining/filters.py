"""What keeps a function, or a comment on one, out of the mined pairs."""

import html
import re

from codequarry.data.mining.schema import Filter
from codequarry.data.parsing.definitions import Definition

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


def count_lines(code: str) -> int:
    """How many of the lines are not blank."""
    return sum(bool(line.strip()) for line in code.split("\n"))


def _is_accessor(definition: Definition) -> bool:
    """Three lines with one statement: followed by a brace or `end`, or preceded by a decorator."""
    lines = [line for line in definition.bare_code.split("\n") if line.strip()]
    closed = lines[-1].strip() in ("}", "};", "end")
    body = lines[1] if closed else lines[-1] if lines[0].startswith("@") else "…"
    return len(lines) == MIN_LINES and _TRIVIAL_BODY.fullmatch(body.strip()) is not None


COMMENT_FILTERS: tuple[Filter[str], ...] = (
    Filter("comment: none", "the function has no comment, or one without words", lambda text: not text),
    Filter("comment: no letters", "only digits and signs", lambda text: not any(map(str.isalpha, text))),
    Filter(
        f"comment: under {MIN_WORDS} words", "too short", lambda text: len(_WORD.findall(text)) < MIN_WORDS
    ),
    Filter(
        f"comment: over {MAX_QUERY} characters", "its first paragraph", lambda text: len(text) > MAX_QUERY
    ),
    Filter("comment: licence header", "it states a copyright or a licence", _LICENCE.search),
    Filter("comment: auto-generated", "a tool wrote it", _GENERATED.match),
    Filter(
        "comment: boilerplate", "it says TODO, see base class, a bare link or the like", _BOILERPLATE.match
    ),
    Filter("comment: code, not words", "code that was commented out", _CODE_AS_COMMENT.search),
    Filter("comment: not English", "prose in another language", lambda text: not is_english(text)),
)

CODE_FILTERS: tuple[Filter[Definition], ...] = (
    Filter(
        f"code: under {MIN_LINES} lines",
        "too short: nothing to tell it by",
        lambda one: count_lines(one.bare_code) < MIN_LINES,
    ),
    Filter(
        f"code: over {MAX_CODE} characters",
        "too long for what a model reads",
        lambda one: len(one.bare_code) > MAX_CODE,
    ),
    Filter(
        "code: empty body",
        "a stub that passes, raises NotImplementedError or is deleted",
        lambda one: _STUB.search(one.bare_code.rstrip()[-400:]),
    ),
    Filter("code: getter or setter", "one line that gives or takes a field", _is_accessor),
)

_MIN_ASCII = 0.8  # share of the letters; identifiers keep even a Chinese comment above zero


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENGLISH = _words(
    "the of and to is that it for with this be are from by not or if when as on at an was can which will has"
    " have does should must into all any each other than then its whether returns return given used using new"
    " only also first last value file one two per no such some before after"
)

# French, German, Spanish and Portuguese, Italian, Dutch, Polish, Turkish, Indonesian; no word that English or
# programming uses as well, such as os, per, die or list.
_OTHER = _words(
    "le la les une dans pour avec est sont pas qui que sur cette ces aux ou où et du au ce elle fichier"
    " valeur retourne renvoie liste fonction permet chaque être"
    " der das und ist nicht mit für auf ein eine einer eines wird werden den dem von zu zum zur oder wenn wir"
    " sich auch aus bei nach gibt alle datei wert zurück über"
    " los las una para con por del esta este como más función archivo devuelve lista cada retorna não uma ao"
    " das você são função arquivo"
    " gli della nel questo questa che sono è het een van voor niet wordt deze jest nie dla się oraz bir için"
    " bu ile yang untuk dengan dari adalah"
)

_LETTERS = re.compile(r"[^\W\d_]+")


def is_english(text: str) -> bool:
    """Whether prose reads as English; a text with no word of any known language is taken for it.

    >>> is_english("Reads the whole file."), is_english("Lit le fichier dans son entier.")
    (True, False)
    """
    letters = [letter for letter in text if letter.isalpha()]
    if sum(letter.isascii() for letter in letters) < _MIN_ASCII * len(letters):
        return False
    words = _LETTERS.findall(text.lower())
    return sum(word in _OTHER for word in words) <= sum(word in _ENGLISH for word in words)


HEAD = 3_000  # characters in which a file names its licence
_FOLDERS = frozenset(
    {"3rd-party", "3rd_party", "3rdparty", "third-party", "third_party", "thirdparty"}
    | {"external", "externals", "extern", "deps", "vendor", "vendors", "vendored", "_vendor"}
)
_COPYLEFT = re.compile(
    r"GNU (?:Lesser |Library |Affero )?(?:General )?Public Licen[cs]e|\b[AL]?GPL\b|\b[AL]?GPL-?v?[123]"
    r"|Mozilla Public Licen[cs]e|\bMPL[- ]?[12]|Eclipse Public Licen[cs]e|\bEPL-[12]|\bCDDL\b"
    r"|CC[- ]BY[- ](?:NC|SA)|ShareAlike|Server Side Public Licen[cs]e|\bSSPL\b|Business Source Licen[cs]e",
    re.IGNORECASE,
)


def is_vendored(path: str) -> bool:
    """Whether a folder of a path has a usual name for other people's code, case aside.

    >>> is_vendored("src/ThirdParty/zip.c")
    True
    """
    return not _FOLDERS.isdisjoint(path.lower().split("/")[:-1])


def names_copyleft(text: str) -> bool:
    """Whether the first lines of a file name a licence that asks the same of what is made of it.

    A file under either of two licences, one of them copyleft, counts too.

    >>> names_copyleft("// SPDX-License-Identifier: GPL-2.0-or-later")
    True
    """
    return _COPYLEFT.search(text[:HEAD]) is not None


_PARAGRAPH_END = re.compile(
    r"^\s*(@\w+|\\(param|return|brief)|:[\w-][\w -]*:(?!`)|(args|arguments|parameters|params|returns?|raises"
    r"|yields?|examples?|usage|notes?|attributes|see also|safety|panics|errors|throws|todo)\s*:?\s*$"
    r"|<(param|typeparam|returns|remarks|example|exception|value|seealso)\b"
    r"|[-=~#*]{3,}|#+ |```|>>>|\.\. )",
    re.IGNORECASE | re.MULTILINE,
)

_ROLE = re.compile(r":\w+(?::\w+)?:`~?([^`]*)`")
_INLINE_TAG = re.compile(r"\{@(?:link|code|linkplain|literal|see)\s+([^}]*)\}")
_RST_LINK = re.compile(r"`([^`<]+?)\s*<[^>]+>`__?")
_HTML_TAG = re.compile(
    r"</?(p|para|summary|code|c|pre|b|i|em|strong|tt|br|ul|ol|li|a|div|span|table|tr|td|th|h[1-6]|blockquote"
    r"|sub|sup|dl|dt|dd|see)(\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_XML_NAME = re.compile(r"""<(?:see|paramref|typeparamref)\s+\w+=["'](?:\w:)?([^"']*)["']\s*/?>""")  # C#
_LINK = re.compile(r"\[([^\]]+)\](?:\([^)\s]+\)|\[[^\]]*\])")


def query_of(comment: str) -> str:
    """The first paragraph of a comment in one line, as a person would type it: no markup, no parameters."""
    paragraph = re.split(r"\n\s*\n", comment.strip(), maxsplit=1)[0]
    paragraph = re.sub(r"^\s*[@\\](brief|description|summary|desc)\s+", "", paragraph, flags=re.IGNORECASE)
    end = _PARAGRAPH_END.search(paragraph)
    text = paragraph[: end.start()] if end else paragraph
    for markup in (_ROLE, _RST_LINK, _INLINE_TAG, _XML_NAME, _LINK):
        text = markup.sub(r"\1", text)
    text = html.unescape(_HTML_TAG.sub(" ", text)).replace("``", "`")
    return " ".join(text.split())
