"""The one parser of source trees: which files there are, what they say, what they define.

Mining and search both read code through here, so that both see the same functions.

    report = SourceReport()
    for source in read_tree(Path("my-checkout"), report):
        for definition in source.definitions:
            print(source.path, definition.start_line, definition.name)
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from codequarry.data.parsing.components import scripts_of
from codequarry.data.parsing.definitions import Definition
from codequarry.data.parsing.languages import BY_NAME, COMPONENTS, Grammar, Language, language_of_text
from codequarry.data.parsing.notebook import Notebook, read_notebook
from codequarry.data.parsing.python import parse_python, python_definitions
from codequarry.data.parsing.python_tolerant import tolerant_definitions
from codequarry.data.parsing.source_files import list_sources, read_text
from codequarry.data.parsing.source_report import EVERYTHING, NOT_PARSED, Choice, SourceReport, passing_over
from codequarry.data.parsing.tree_sitter import Budget, TooCostlyError, tree_sitter_definitions

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source tree.

    path: relative to the root, with `/`.
    language: in lower case, such as `python`, `typescript`, `markdown` or `text`; of a notebook or component
        that of its code.
    text: without byte order mark, every line ending a single newline; of a notebook the lines of its cells.
    definitions: by first line, a class before its methods; () where the language has no grammar here.
    prose: first and last line of each passage that is written for people, in a file of code.
    """

    path: str
    language: str
    text: str
    definitions: tuple[Definition, ...]
    prose: tuple[tuple[int, int], ...] = ()


def read_source(
    root: Path, path: str, report: SourceReport, choice: Choice = EVERYTHING
) -> SourceFile | None:
    """One file of a tree, or None when it is passed over; `report` counts either.

    A file that does not parse comes back without definitions: it is read, and counted under
    "does not parse" as well. Raises ImportError where a language's grammar package is missing.
    """
    text = read_text(root, path, report, choice)
    if text is None:
        return None
    language = language_of_text(path, text)
    report.read += 1
    source, does_parse = _parsed(path, text, language)
    if not does_parse:
        report.skip(path, NOT_PARSED)
    return source


def parse_source(path: str, text: str) -> tuple[Definition, ...]:
    """The functions, methods and classes of a text, in the language of the file's name.

    Functions inside functions belong to the outer one. What does not parse, or has no grammar, gives ().
    Raises ImportError where a language's grammar package is missing.
    """
    language = language_of_text(path, text)
    return _parsed(path, text, language)[0].definitions


def read_tree(
    root: Path,
    report: SourceReport,
    progress: bool = True,
    choice: Choice = EVERYTHING,
    *,
    tracked: bool = False,
) -> Iterator[SourceFile]:
    """Every file of a tree that is worth reading, in the order of `list_sources`.

    progress: show a bar once reading has taken two seconds. choice, tracked: as in `list_sources`.
    """
    paths = list_sources(root, report, choice, tracked=tracked)
    for path in tqdm(paths, "reading", unit=" files", delay=2, disable=not progress, leave=False):
        source = None
        with passing_over(path, report):
            source = read_source(root, path, report, choice)
        if source is not None:
            yield source


def _parsed(path: str, text: str, language: Language) -> tuple[SourceFile, bool]:
    """A file of a known language, and whether it parses: one that does not is read by lines."""
    name = language.name
    prose: tuple[tuple[int, int], ...] = ()
    found: tuple[Definition, ...] | None = ()
    if name == "jupyter":
        notebook = read_notebook(text)
        if notebook is None:
            return SourceFile(path, name, text, ()), False
        name, text = _LANGUAGES_OF_KERNELS.get(notebook.language, notebook.language), notebook.text
        name = name if name in BY_NAME else "jupyter"
        found = _definitions_of_cells(notebook, BY_NAME[name])
        prose = tuple((cell.start, cell.end) for cell in notebook.cells if not cell.is_code)
    elif name in COMPONENTS:
        scripts, script_language = scripts_of(text, name)
        if script_language:
            name = script_language
            found = _definitions(scripts, _component(name))
    else:
        found = _definitions(text, language)
    return SourceFile(path, name, text, found or (), prose), found is not None


def _definitions(text: str, language: Language) -> tuple[Definition, ...] | None:
    """None for what does not parse."""
    if language.grammar is None:
        return ()
    try:
        if language.name == "python":
            found = python_definitions(text)
            return tolerant_definitions(text) if found is None else found
        return tree_sitter_definitions(text, language.grammar)
    except TooCostlyError:
        return None


_LANGUAGES_OF_KERNELS = {
    **{"": "python", "python3": "python", "python2": "python", "ipython": "python", "sage": "python"},
    **{"ir": "r", "c#": "csharp", "c++": "cpp", "c++11": "cpp", "c++14": "cpp", "c++17": "cpp"},
    **{"node": "javascript", "nodejs": "javascript", "bash": "shell", "deno": "typescript"},
}
_PYTHON_MAGICS = frozenset({"%%time", "%%timeit", "%%capture", "%%prun", "%%python", "%%python3", "%%memit"})


def _definitions_of_cells(notebook: Notebook, language: Language) -> tuple[Definition, ...] | None:
    """Each cell is parsed alone: what one of them says does not depend on a broken one."""
    found: list[Definition] = []
    parsed = True
    for cell in notebook.cells:
        magic = cell.lines[0].split(maxsplit=1)[:1]
        if not cell.is_code or (magic and magic[0].startswith("%%") and magic[0] not in _PYTHON_MAGICS):
            continue  # a cell of `%%bash` or `%%html`
        definitions = _definitions("\n".join(cell.lines), language)
        parsed = parsed and definitions is not None
        found += [_moved(one, cell.start - 1) for one in definitions or ()]
    return tuple(found) if found or parsed else None


def _moved(one: Definition, lines: int) -> Definition:
    """A definition so many lines further down."""
    names = ("start_line", "end_line", "comment_start_line", "comment_end_line", "body_line")
    return replace(one, **{name: getattr(one, name) + lines for name in names if getattr(one, name)})


def _component(script_language: str) -> Language:
    """A language of scripts whose objects hold methods: `export default { methods: { … } }`."""
    language = BY_NAME[script_language]
    assert language.grammar is not None
    grammar = replace(
        language.grammar,
        passages=language.grammar.passages | {"object", "call_expression", "arguments"},
        bindings=language.grammar.bindings | {"pair"},
    )
    return replace(language, grammar=grammar)


_NEAR = 0.25  # the distance of a cut from the middle, at most, as a share of the lines


def cut_in_two(code: str, language: str) -> tuple[str, str] | None:
    """The two halves of a function, cut before the statement nearest to its middle line.

    None where no statement begins within a quarter of its length from the middle, or the function alone
    does not parse.
    """
    lines = code.split("\n")
    middle = len(lines) / 2
    near = [start for start in statement_lines(code, language) if abs(start - middle) <= _NEAR * len(lines)]
    if not near:
        return None
    cut = min(near, key=lambda start: (abs(start - middle), start))
    return "\n".join(lines[:cut]).rstrip(), "\n".join(lines[cut:]).strip("\n")


def statement_lines(code: str, language: str) -> list[int]:
    """The lines, counted from 0, whose first word begins a statement inside a function; [] if unknown."""
    rows = _python_starts(code) if language == "python" else None
    if rows is None:
        grammar = BY_NAME[language].grammar
        rows = _grammar_starts(code, grammar) if grammar is not None else []
    lines = code.split("\n")
    return sorted({row for row, column in rows if row and not lines[row][:column].strip()})


def _python_starts(code: str) -> list[tuple[int, int]] | None:
    tree = parse_python(code)
    if tree is None:
        return None
    starts: list[tuple[int, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            first = [*getattr(node, "decorator_list", []), node][0]
            starts.append((first.lineno - 1, node.col_offset))
    return starts


def _grammar_starts(code: str, grammar: Grammar) -> list[tuple[int, int]]:
    budget = Budget(len(code))
    try:
        root = _tree(f"{grammar.opening}{code}", grammar, budget)
        if root.has_error:  # a method alone is no program in most languages
            root = _tree(f"{grammar.opening}class A {{{code}\n}};", grammar, budget)
    except TooCostlyError:
        return []
    if root.has_error:
        return []
    starts: list[tuple[int, int]] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type in grammar.blocks:
            starts += [(child.start_point.row, child.start_point.column) for child in node.named_children]
        waiting += node.named_children
    return starts


def _tree(text: str, grammar: Grammar, budget: Budget) -> "Node":
    return budget.parse(text.encode("utf-8", "replace"), grammar.package, grammar.factory).root_node
