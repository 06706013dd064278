"""Files that hold scripts among other text: components of Vue, Svelte and Astro."""

import re
from collections.abc import Iterator

_OPENING = re.compile(r"<!--|<script\b", re.IGNORECASE)
_END = {"<!--": re.compile("-->"), "<script": re.compile(r"</script\b", re.IGNORECASE)}
_ATTRIBUTE = re.compile(r"""\b(lang|type)\s*=\s*["']?([\w./+-]*)""")
_SCRIPT_TYPE = re.compile(
    r"(text/|application/)?(x-)?(javascript|ecmascript|typescript|babel|jsx|tsx|ts)|module|"
)
_LONGEST_TAG = 5_000  # characters
_LANGUAGES = {"ts": "typescript", "typescript": "typescript", "tsx": "tsx", "jsx": "tsx"}
_FRONT_MATTER = re.compile(r"\s*---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_NO_NEWLINE = re.compile(r"[^\n]")


def scripts_of(text: str, language: str) -> tuple[str, str]:
    """The text with blanks in place of everything but its scripts, and their language; "" where it has none.

    Lines keep their numbers. Scripts in more than one language are read as the widest of them.
    """
    found = list(_scripts(text))
    if language == "astro":
        front = _FRONT_MATTER.match(text)
        found = [(front.start(1), front.end(1), "typescript")] if front else []
        found += [one for one in _scripts(text) if not front or one[0] > front.end()]
    pieces, position = [], 0
    for start, end, _ in found:
        pieces += [_NO_NEWLINE.sub(" ", text[position:start]), text[start:end]]
        position = end
    pieces.append(_NO_NEWLINE.sub(" ", text[position:]))
    languages = {one for *_, one in found}
    widest = next((one for one in ("tsx", "typescript", "javascript") if one in languages), "")
    return "".join(pieces), widest


def _scripts(text: str) -> Iterator[tuple[int, int, str]]:
    """Start and end of each script between its tags, and its language."""
    position = 0
    while opening := _OPENING.search(text, position):
        what = opening[0].lower()
        start = opening.end() if what == "<!--" else _end_of_tag(text, opening.end())
        end = _END[what].search(text, start) if start else None
        if not start or (end is None and what == "<!--"):
            return
        position = end.end() if end else len(text)  # a half-written file has no end tag yet
        if what == "<script":
            attributes = dict(_ATTRIBUTE.findall(text[opening.end() : start]))
            kind = attributes.get("type", "").lower()
            if _SCRIPT_TYPE.fullmatch(kind):
                name = attributes.get("lang", "").lower() or kind.rpartition("/")[2]
                yield start, end.start() if end else position, _LANGUAGES.get(name, "javascript")


def _end_of_tag(text: str, position: int) -> int:
    """Behind the `>` that ends a tag, not one in a quoted value; 0 where there is none."""
    quote = ""
    for at in range(position, min(len(text), position + _LONGEST_TAG)):
        letter = text[at]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == ">":
            return at + 1
    return 0
