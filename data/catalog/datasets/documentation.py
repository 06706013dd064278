"""Documentation of frameworks and tools: a heading, with its page's title → the text below it."""

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from codequarry.data.catalog.datasets import AZURE, FRONT_MATTER, POWERSHELL, texts
from codequarry.data.catalog.schema import EvalSource, Files, Git, TrainSource
from codequarry.data.eval_set import EvalSet, set_of_pairs
from codequarry.data.pair import Pair

_SHORTEST = 200  # characters of an answer
_LONGEST = 2_500


@dataclass(frozen=True)
class Manual:
    """How one repository's documentation is read.

    fewest_words: of a heading that describes the text below it; "Remarks" and "Return value" do not.
    introductions: whether the text under a page's title counts; elsewhere it lists what the page has.
    """

    repository: str
    language: str
    fewest_words: int = 2
    introductions: bool = False


MANUALS = (
    Manual("MicrosoftDocs/cpp-docs", "cpp", fewest_words=3),
    Manual("MicrosoftDocs/PowerShell-Docs", "powershell", introductions=True),
    Manual("MicrosoftDocs/azure-docs-powershell", "powershell", introductions=True),
    Manual("dotnet/EntityFramework.Docs", "csharp"),
    Manual("reactjs/react.dev", "javascript"),
    Manual("symfony/symfony-docs", "php"),
)

_MANUALS = {manual.repository: manual for manual in MANUALS}
_DEEPEST = 4  # level of a heading: below, a section is a step of the one above
_ALIKE = 20  # pages under one heading: a heading that every page has asks nothing


def read_documentation(source: str, files: Files) -> Iterator[Pair]:
    """Pairs of the manuals above, under the source `source`.

    One pair per section of 200 characters or more: "Heading (Page title)" → its text, cut at 2,500. The title
    is left out where the heading contains it. Headings that more than twenty pages of a repository
    share are left out with their sections.
    """
    found: list[tuple[Manual, str, Section, str]] = []
    pages: Counter[tuple[str, str]] = Counter()
    for path, page in texts(files):
        manual = _MANUALS["/".join(path.split("/")[:2])]
        reads = restructured if path.endswith(".rst") else sections
        parts = [part for part in reads(page) if part.heading]
        title = plain(page_title(page) if reads is sections else parts[0].heading if parts else "")
        pages.update({(manual.repository, part.heading.lower()) for part in parts})
        for part in parts:
            if part.level > _DEEPEST or (part.level == 1 and not manual.introductions):
                continue
            text = part.text if path.endswith(".rst") else plain(part.text)
            if len(text) >= _SHORTEST:
                found.append((manual, title, part, text))
    for manual, title, part, text in found:
        heading = plain(part.heading)
        if len(heading.split()) < manual.fewest_words and part.level > 1:
            continue
        if pages[manual.repository, part.heading.lower()] > _ALIKE:
            continue
        query = heading if title.lower() in heading.lower() else f"{heading} ({title})"
        yield Pair("qa", query, text[:_LONGEST].rstrip(), source, manual.language)


_FENCE = re.compile(r"\s*(```+|~~~+)")
_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_TITLE = re.compile(r"^title:\s*(.+?)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ANCHOR = re.compile(r"\s*(?:\{/\*.*?\*/\}|\{#[\w-]+\})")
_INCLUDE = re.compile(r"\[!(?:INCLUDE|code)[^\]]*(?:\[[^\]]*\])?\([^)]*\)\]", re.IGNORECASE)
_ALERT = re.compile(r"^> \[!\w+\]\s*$\n?", re.MULTILINE)
_TRIPLE_COLON = re.compile(r"^[ \t]*:::.*?(?::::)?[ \t]*$\n?", re.MULTILINE)
_IMAGE = re.compile(r"!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])")
_LINK = re.compile(r"(?<!\!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)")
_REFERENCE = re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]")
_DEFINITION = re.compile(r"^\[[^\]]+\]:\s+\S.*$\n?", re.MULTILINE)
_TAG = re.compile(
    r"</?(?:a|b|br|code|details|div|em|hr|i|img|kbd|li|ol|p|span|strong|sub|summary|sup|table|td|th|tr|u|ul)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")


@dataclass(frozen=True)
class Section:
    """One heading with the text up to the next heading of any level.

    level: 1 for the page's title, 0 for text before any heading.
    """

    level: int
    heading: str
    text: str


def page_title(page: str) -> str:
    """The title in a page's front matter, else its first heading of level 1, else ""."""
    front = FRONT_MATTER.match(page)
    if front and (found := _TITLE.search(front[1])):
        return found[1].strip("\"'").strip()
    return next((part.heading for part in sections(page) if part.level == 1), "")


def sections(page: str) -> Iterator[Section]:
    """The sections of a page in order, as written; a `#` inside a code fence is no heading."""
    level, heading, lines, fence = 0, "", list[str](), ""
    for line in FRONT_MATTER.sub("", page, count=1).split("\n"):
        if found := _FENCE.match(line):
            if not fence:
                fence = found[1]
            elif found[1].startswith(fence) and line.strip() == found[1]:
                fence = ""
        title = None if fence else _HEADING.match(line)
        if title:
            yield Section(level, heading, "\n".join(lines))
            level, heading, lines = len(title[1]), _ANCHOR.sub("", title[2]), []
        else:
            lines.append(line)
    yield Section(level, heading, "\n".join(lines))


def plain(text: str) -> str:
    """Markdown without links, images, comments, alerts and page markup; code fences stay as they are."""
    parts = re.split(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", text, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [_prose(part) for part in parts[::2]]
    return _BLANK_LINES.sub("\n\n", "".join(parts)).strip()


def _prose(text: str) -> str:
    for pattern in (_COMMENT, _INCLUDE, _ALERT, _TRIPLE_COLON, _IMAGE, _DEFINITION):
        text = pattern.sub("", text)
    text = _LINK.sub(r"\1", text)
    return _TAG.sub("", _REFERENCE.sub(r"\1", text))


_UNDERLINE = re.compile(r"([=\-~.*^\"'#])\1{2,}\s*$")
_ROLE = re.compile(r":[\w:+-]+:`(?:([^`<]+?)\s*<[^`]*>|([^`]*))`")
_RST_LINK = re.compile(r"`([^`<]+?)\s*<[^`]*>`_{1,2}|`([^`]+)`_{1,2}")
_TARGET = re.compile(
    r"^\.\. (?:_[^:]*:|index::|versionadded::|versionchanged::).*(?:\n[ \t]+.*)*\n?", re.MULTILINE
)
_CODE_BLOCK = re.compile(r"^([ \t]*)\.\. code-block::.*\n", re.MULTILINE)


def restructured(page: str) -> Iterator[Section]:
    """The sections of a reStructuredText page; levels in the order in which underlines first occur.

    Links and roles become their text, and what a `code-block` directive holds stays indented.
    """
    lines, marks = page.split("\n"), list[str]()
    level, heading, body = 0, "", list[str]()
    for number, line in enumerate(lines):
        under = _UNDERLINE.match(lines[number + 1]) if number + 1 < len(lines) else None
        title = line.strip()
        if under and title and not line[0].isspace() and len(under[0].strip()) >= len(title) - 2:
            yield Section(level, heading, _rst_plain(body))
            if under[1] not in marks:
                marks.append(under[1])
            level, heading, body = marks.index(under[1]) + 1, title.replace("``", "`"), []
        elif not (_UNDERLINE.match(line) and body == [] and heading):
            body.append(line)
    yield Section(level, heading, _rst_plain(body))


def _rst_plain(lines: list[str]) -> str:
    text = _CODE_BLOCK.sub("", _TARGET.sub("", "\n".join(lines)))
    text = _ROLE.sub(lambda role: f"`{role[1] or role[2]}`", text)
    text = _RST_LINK.sub(lambda link: link[1] or link[2], text)
    return _BLANK_LINES.sub("\n\n", text).strip()


_QUOTE = re.compile(r"(?:>.*(?:\n|\Z))+")
_TOOL = re.compile(r"^(?:Compiler|Linker Tools)\s+")
_EMPHASIS = re.compile(r"(\*{1,3})(?=\S)([^*\n]+?)\1")
_SHORTEST_EXPLANATION = 60  # characters


def read_errors(files: Files) -> Iterator[Pair]:
    """One pair per page: "Error C2504: 'class' : base class undefined" → the rest of the page, cut at 2,500.

    Pages that only list others, and thus quote no message, are left out.
    """
    for _, page in texts(files):
        parts = [part for part in sections(page) if part.heading]
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
        if len(answer) >= _SHORTEST_EXPLANATION:
            yield Pair("qa", query, answer[:_LONGEST].rstrip(), "errors_techqa", "cpp")


_LONGEST_SECTION = 7000  # characters of an evaluated section; a longer one is a page

# Headings that say nothing about the text below them.
_EMPTY_HEADINGS = frozenset({"additional resources", "next steps", "return values", "see also"})
_TAGS = re.compile(
    r"</?(?:div|span|p|a|img|br|hr|sup|sub|details|summary|table|tr|td|th|b|i|em|strong|h[1-6]|code|li|ul|ol"
    r"|kbd|small|video|section|center|iframe)(?:\s[^>]*)?/?>",
    re.I,
)
_MARKDOWN_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def read_docs_qa(files: Files) -> EvalSet:
    """Every section of two words or more in its heading, and of at least 200 characters."""
    asked = (found for _, page in texts(files) for found in question_sections(page))
    return set_of_pairs("docs_qa", "qa", ((question, section, "") for question, section in asked))


def question_sections(page: str) -> Iterator[tuple[str, str]]:
    """(question, section) of a page of Markdown.

    The question is the heading, with the page's title in parentheses unless it asks or contains the title.
    """
    title = _plain_heading(page_title(page))
    for part in sections(page):
        question = _plain_heading(part.heading)
        if len(question.split()) < 2 or part.level > _DEEPEST or question.lower() in _EMPTY_HEADINGS:
            continue
        section = _plain_section(part.text)
        if _SHORTEST <= len(section) <= _LONGEST_SECTION:
            named = not title or question.endswith("?") or title.lower() in question.lower()
            yield question if named else f"{question} ({title})", section[:_LONGEST].rstrip("\n")


def _plain_heading(heading: str) -> str:
    text = _MARKDOWN_LINK.sub(r"\1", re.sub(r"\s*\{.*?\}", "", heading))
    return html.unescape(_TAGS.sub("", text.replace("`", ""))).strip(" #")


def _plain_section(text: str) -> str:
    text = re.sub(r":::.*", "", _COMMENT.sub("", text))  # VitePress's and Microsoft's containers
    text = re.sub(r"\[![^\]]*\]", "", _IMAGE.sub(" ", text))  # [!NOTE], [!VIDEO …]
    text = html.unescape(_TAGS.sub("", _MARKDOWN_LINK.sub(r"\1", text)))
    return _BLANK_LINES.sub("\n\n", text).strip()


_CPP = ("MicrosoftDocs/cpp-docs", "a2e592a8fc391b6aff8d1323f5b58696abdc5d57")
_ENTITY_FRAMEWORK = ("dotnet/EntityFramework.Docs", "16e474b58151684c890eb0041ef84f38e59610d3")
_REACT_DEV = ("reactjs/react.dev", "12d692da47e77cdc558b928fcfbaf4e71c6d0cec")
_WSL = ("MicrosoftDocs/WSL", "8842def77a852af26318b9ebec78063a94b068ed")
_TYPESCRIPT_WEBSITE = ("microsoft/TypeScript-Website", "1f8e642574ce992bfd573a96b5e3de43d8ac044a")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="errors_techqa",
        tasks=("qa",),
        where=(Git(*_CPP, ("/docs/error-messages/**/*.md", "!/docs/error-messages/includes/")),),
        licence="CC-BY-4.0",
        languages=("cpp",),
        read=read_errors,
        size=2_471,
        note="Microsoft and contributors; the code in it is MIT. Differs from our first data in pages that "
        "only list others, left out here.",
    ),
    TrainSource(
        name="docs_techqa",
        tasks=("qa",),
        where=(
            Git(*_CPP, ("/docs/**/*.md", "!/docs/error-messages/")),
            Git(*POWERSHELL, ("/reference/docs-conceptual/**/*.md",)),
            Git(*AZURE, ("/docs-conceptual/azps-16.2.0/**/*.md", "!release-notes*", "!migrate-az-*")),
            Git(*_ENTITY_FRAMEWORK, ("/entity-framework/**/*.md",)),
            Git(*_REACT_DEV, ("/src/content/**/*.md", "!/src/content/blog/")),
        ),
        licence="CC-BY-4.0",
        languages=("cpp", "csharp", "javascript", "powershell"),
        read=partial(read_documentation, "docs_techqa"),
        size=11_056,
        note="Microsoft, Meta and contributors, with attribution; Microsoft's code in it is MIT. Differs "
        "from our first data in markup: includes, alerts and reference links go whole here.",
    ),
    TrainSource(
        name="symfony_techqa",
        tasks=("qa",),
        where=(Git("symfony/symfony-docs", "3e03b46811863dab6aa8d2948c601082688441d1", ("*.rst",)),),
        licence="CC-BY-SA-3.0",
        languages=("php",),
        read=partial(read_documentation, "symfony_techqa"),
        size=1_963,
        note="Symfony and contributors. Apart from docs_techqa because its licence is share-alike.",
    ),
)

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="docs_qa",
        task="qa",
        where=(
            Git("vuejs/docs", "01e098a967951ea92d09b100b8e7d82c7a3369a2", ("/src/**/*.md", "!releases.md")),
            Git(*_WSL, ("/WSL/**/*.md", "!*release-notes.md")),
            Git(*_TYPESCRIPT_WEBSITE, ("/packages/documentation/copy/en/**/*.md", "!**/release-notes/*.md")),
            Git("rust-lang/book", "917544888a55e4da7109bdba8c88c893c0da70f4", ("/src/**/*.md",)),
            Git("rust-lang/rust-by-example", "898f0ac1479223d332309e0fce88d44b39927d28", ("/src/**/*.md",)),
        ),
        licence="CC-BY-4.0",
        languages=(),
        read=read_docs_qa,
        faithful="Our own set; MTEB's CodeFeedback tasks hold answers that a model wrote.",
        queries=2069,
        documents=2085,
    ),
)
