"""Which language a file is written in, by its name, and how the languages with a grammar are laid out.

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

    prose: texts for people, where a very long line is a paragraph and not a sign of a minified file.
    """

    name: str
    extensions: tuple[str, ...]
    filenames: tuple[str, ...] = ()
    grammar: Grammar | None = None
    prose: bool = False


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
_CPP_IN_HEADER = re.compile(
    r"^\s*(class\s+\w|namespace\b|template\s*<|using\s+\w|(public|private)\s*:)", re.M
)


def language_of(path: str) -> Language | None:
    """The language of a file by its name alone; None for a kind that is not read."""
    name = PurePosixPath(path)
    known = _BY_FILENAME.get(name.name) or _BY_EXTENSION.get(name.suffix)
    return known or _BY_EXTENSION.get(name.suffix.lower())


def language_of_text(path: str, text: str) -> Language | None:
    """The language of a file by its name and, for a `.h` that both C and C++ use, by its text."""
    language = language_of(path)
    if path.endswith(".h") and _CPP_IN_HEADER.search(text):
        return BY_NAME["cpp"]
    return language
