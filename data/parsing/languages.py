"""Which language a file is written in, by its name or first lines, and how those with a grammar are laid out.

Everything about a language is in its table of `languages.toml`; a new one is a new table.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any


@dataclass(frozen=True, slots=True)
class Grammar:
    """The tree-sitter node types that matter in one language.

    package: what pip installs; its module is the same name with underscores.
    factory: the function of that module which returns the grammar.
    functions: nodes that are a function, or a method inside a class.
    methods: nodes that are always a method.
    classes: nodes that are a class, struct, interface or enum.
    scopes: nodes that put their name before what they hold and are no definition themselves.
    passages: nodes that are walked through without a trace, such as `#ifdef` or a class body.
    wrappers: nodes whose lines belong to the one definition inside them, such as `export`.
    bindings: nodes that give a name to a function or class expression.
    attached: attributes and decorators that precede a definition as its siblings.
    blocks: nodes whose children are statements.
    opening: what a function alone needs before its first word to be read, such as PHP's tag.
    """

    package: str
    factory: str = "language"
    functions: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    passages: frozenset[str] = frozenset()
    wrappers: frozenset[str] = frozenset()
    bindings: frozenset[str] = frozenset()
    attached: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its name in lower case, its file endings, its whole file names, its grammar if any.

    interpreters: programs that a first line `#!…` names, without a version.
    prose: texts for people, where a very long line is a paragraph and not a sign of a minified file.
    largest: bytes; a larger file of this kind is data or a bundle. Below a million where it is data for sure.
    """

    name: str
    extensions: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()
    grammar: Grammar | None = None
    prose: bool = False
    largest: int = 5_000_000


def _read_languages(file: Path) -> tuple[Language, ...]:
    def fields(cells: dict[str, Any], sequence: type) -> dict[str, Any]:
        return {key: sequence(value) if isinstance(value, list) else value for key, value in cells.items()}

    found = []
    for name, cells in tomllib.loads(file.read_text(encoding="utf-8")).items():
        grammar = cells.pop("grammar", None)
        grammar = grammar and Grammar(**fields(grammar, frozenset))
        found.append(Language(name, grammar=grammar, **fields(cells, tuple)))
    return tuple(found)


LANGUAGES = _read_languages(Path(__file__).with_name("languages.toml"))
COMPONENTS = frozenset({"vue", "svelte", "astro"})  # hold scripts among other text
SCRIPT_HOLDERS = COMPONENTS | {"jupyter"}
BY_NAME = {language.name: language for language in LANGUAGES}
_BY_EXTENSION = {ending: language for language in LANGUAGES for ending in language.extensions}
_BY_FILENAME = {filename: language for language in LANGUAGES for filename in language.filenames}
_BY_PROGRAM = {program: language for language in LANGUAGES for program in language.interpreters}
_CPP_IN_HEADER = re.compile(
    r"^[ \t]*(class\s+\w|namespace\b|template\s*<|using\s+\w|(public|private)\s*:)", re.M
)
# Names that editors have for a language besides its own and that of its interpreter.
_MODES = {
    "c++": "cpp", "cs": "csharp", "js": "javascript", "ts": "typescript", "makefile": "make", "conf": "ini",
    "dockerfile": "docker", "objc": "objective-c", "emacs-lisp": "lisp", "tex": "tex", "latex": "tex",
    "bzl": "starlark", "jproperties": "ini", "terraform": "terraform", "cperl": "perl", "nroff": "text",
}  # fmt: skip
_SHEBANG = re.compile(r"#!\s*(?:\S*/)?env\s+(?:-\S+\s+|\w+=\S*\s+)*(\S+)|#!\s*(\S+)")
_VERSION = re.compile(r"[-\d.]+$")
_EMACS = re.compile(r"-\*-\s*(?:.*?\bmode:\s*)?([\w+-]+)\s*(?:;.*)?-\*-", re.IGNORECASE)
_VIM = re.compile(r"\b(?:vim?|ex):.*?\b(?:ft|filetype|syntax|syn)=([\w+-]+)")
_FIRST_WORDS = (
    ("<?php", "php"), ("<?xml", "xml"), ("<!doctype html", "html"), ("<html", "html"), ("#compdef", "shell"),
)  # fmt: skip
_MODELINES = 5  # lines at either end of a file


def language_of(path: str) -> Language | None:
    """The language of a file by its name alone; None for a name that does not say it."""
    name = PurePosixPath(path)
    known = _BY_FILENAME.get(name.name) or _BY_EXTENSION.get(name.suffix)
    known = known or _BY_EXTENSION.get(name.suffix.lower())
    # Dockerfile.dev, Makefile.am, README.first
    return known or (_BY_FILENAME.get(name.name.partition(".")[0]) if name.suffix else None)


def language_of_text(path: str, text: str) -> Language:
    """The language of a file by its name, or else by its first lines.

    A `.h` that both C and C++ use goes by its text. What neither says is `other` where it looks like code and
    `text` where it does not.
    """
    language = language_of(path)
    if path.endswith(".h") and _CPP_IN_HEADER.search(text):
        return BY_NAME["cpp"]
    return language or _by_first_lines(text) or BY_NAME["other" if _looks_like_code(text) else "text"]


def _by_first_lines(text: str) -> Language | None:
    start = text[:2_000].lstrip("\ufeff")
    if match := _SHEBANG.match(start):
        program = _VERSION.sub("", (match[1] or match[2]).rpartition("/")[2])
        if program in _BY_PROGRAM:
            return _BY_PROGRAM[program]
    head = start.lstrip()[:20].lower()
    for words, name in _FIRST_WORDS:
        if head.startswith(words):
            return BY_NAME[name]
    lines = start.split("\n")[:_MODELINES] + text[-2_000:].split("\n")[-_MODELINES:]
    for line in lines:
        if (match := _EMACS.search(line[:300]) or _VIM.search(line[:300])) and (
            mode := _by_mode(match[1].lower())
        ):
            return mode
    return None


def _by_mode(mode: str) -> Language | None:
    return BY_NAME.get(_MODES.get(mode, mode)) or _BY_PROGRAM.get(mode)


_CODE_LINE = re.compile(
    r".*[;{}\])]$|.*\w\(|.*\s:?=\s|\s*(?:def|sub|proc|function|func|fn|begin|end|module|import|include|use|let|set"
    r"|var|if|else|elif|for|while|return|class|type|struct|procedure|program|call|echo|export)\b(?![^()=]*[.,]$)"
)


def _looks_like_code(text: str) -> bool:
    lines = [line.rstrip() for line in text[:20_000].split("\n") if line.strip()][:200]
    return sum(1 for line in lines if _CODE_LINE.match(line[:300])) >= 0.3 * max(1, len(lines))
