"""The bytes of a source file as text: byte order mark, declared coding, UTF-8, and then a lenient reading.

One foreign letter in a comment does not make a file unreadable, and line numbers stay exact in every reading:
an encoding is used only if ASCII means ASCII in it.
"""

import codecs
import re
import warnings
from functools import lru_cache

_MARKS = (  # the longer first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# No text has these: tab, the line ends, form feed, backspace, vertical tab and escape are left out.
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r\f\b\v\x1b"))
_PEP_263 = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_COMMENT_OR_BLANK = re.compile(rb"^[ \t\f]*(?:#.*)?$")
_DECLARED = re.compile(rb"(?:coding|charset|fenc)[:=][ \t]*[\"']?([-\w.]+)")
_ASCII = bytes(range(32, 127)) + b"\\n\\x41 ~{ +AGE- \t\r\n"
_SAMPLE = 4_096  # bytes that show whether a text is UTF-16


def decode(data: bytes, is_python: bool = False) -> str | None:
    """The text of a file, or None for what is no text.

    The order: a byte order mark; UTF-16 or UTF-32 without one, where most characters are ASCII; for Python
    the declared coding (PEP 263); UTF-8; the coding that a modeline, an XML or an HTML head declares; UTF-8
    with a few broken letters; Shift-JIS and EUC-JP, which kana give away; Windows-1252. A NUL, which no
    parser takes, becomes U+FFFD.
    """
    text = _decoded(data, is_python)
    return text and text.replace("\0", "\ufffd")


def _decoded(data: bytes, is_python: bool) -> str | None:
    text: str | None
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(encoding, "replace")
            if encoding == "utf-32-le" and "\ufffd" in text:
                continue  # UTF-16 that begins with a NUL
            return None if encoding != "utf-8" and _is_no_text(text) else text
    if wide := _wide_encoding(data[:_SAMPLE]):
        text = data.decode(wide, "replace")
        return None if _is_no_text(text) else text
    controls = len(data) - len(data.translate(None, _CONTROLS))
    if (controls >= 4 and controls > len(data) * 0.05) or controls * 2 > len(data):
        return None
    if is_python and (declared := _declared_in_python(data)) and (text := _strictly(data, declared)):
        return text
    text = _strictly(data, "utf-8")
    if text is not None:
        return text
    if controls > 1 + len(data) * 0.01:
        return None
    return _lenient(data)


def _lenient(data: bytes) -> str:
    head = b"\n".join(data.split(b"\n", 3)[:3])[:1_000]
    for match in _DECLARED.finditer(head):
        if (name := _ascii_encoding(match[1].decode("ascii", "replace"))) and (text := _strictly(data, name)):
            return text
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    if foreign > 2 * broken:
        return text
    for encoding in ("cp932", "euc_jp"):
        japanese = _strictly(data, encoding)
        if japanese is not None and _is_japanese(japanese):
            return japanese
    western = _strictly(data, "cp1252")
    return data.decode("latin-1") if western is None else western


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeError, ValueError):
        return None


def _declared_in_python(data: bytes) -> str | None:
    for line in data.replace(b"\r", b"\n").split(b"\n", 2)[:2]:
        if match := _PEP_263.match(line[:500]):
            return _ascii_encoding(match[1].decode("ascii", "replace"))
        if not _COMMENT_OR_BLANK.match(line[:500]):
            return None
    return None


@lru_cache(maxsize=64)
def _ascii_encoding(name: str) -> str | None:
    """The codec of a declared name if ASCII is ASCII in it: not rot13, UTF-7 or unicode_escape."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            codec = codecs.lookup(name)
            text, _ = codec.decode(_ASCII)
    except Exception:  # a codec may raise anything at all
        return None
    return codec.name if text == _ASCII.decode("ascii") else None


def _wide_encoding(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 by where its NULs are; None for every other encoding."""
    if len(sample) < 8 or b"\0" not in sample:
        return None
    nulls = [sample[at::4].count(0) / len(sample[at::4]) for at in range(4)]
    for encoding, empty, filled in (
        ("utf-32-le", (1, 2, 3), (0,)),
        ("utf-32-be", (0, 1, 2), (3,)),
        ("utf-16-le", (1, 3), (0, 2)),
        ("utf-16-be", (0, 2), (1, 3)),
    ):
        if min(nulls[at] for at in empty) > 0.6 and max(nulls[at] for at in filled) < 0.05:
            return encoding
    return None


def _is_no_text(text: str) -> bool:
    """Whether decoded wide characters are rather a picture or a program that happens to begin like a text."""
    sample = text[: 4 * _SAMPLE]
    odd = sum(1 for letter in sample if not letter.isprintable() and letter not in "\t\n\r\f\v\ufeff")
    return odd >= 4 and odd > len(sample) * 0.05


def _is_japanese(text: str) -> bool:
    foreign = [letter for letter in text if letter > "\x7f"]
    kana = sum(1 for letter in foreign if "\u3040" <= letter <= "\u30ff")
    known = kana + sum(
        1 for letter in foreign if "\u3000" <= letter <= "\u303f" or "\u4e00" <= letter <= "\u9fff"
    )
    return kana > 0 and known >= 0.8 * len(foreign)
