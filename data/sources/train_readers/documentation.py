"""Documentation of frameworks and tools: a heading, with its page's title → the text below it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from codequarry.data.pair import Pair
from codequarry.data.sources.schema import Files
from codequarry.data.sources.train_readers.markdown_sections import Section, page_title, plain, sections
from codequarry.data.sources.train_readers.restructured_text import restructured

_SHORTEST = 200  # characters of an answer
_LONGEST = 2_500


@dataclass(frozen=True)
class Manual:
    """How one repository's documentation is read.

    fewest_words: of a heading that says what is below it; "Remarks" and "Return value" do not.
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


def read_documentation(source: str) -> Callable[[Files], Iterator[Pair]]:
    """A reader of the manuals below, whose pairs bear the name `source`.

    One pair a section of 200 characters or more: "Heading (Page title)" → its text, cut at 2,500. The title
    is left out where the heading already says it. Headings that more than twenty pages of a repository
    share are left out with their sections.
    """
    return partial(_read, source)


def _read(source: str, files: Files) -> Iterator[Pair]:
    found: list[tuple[Manual, str, Section, str]] = []
    pages: Counter[tuple[str, str]] = Counter()
    for path, content in files:
        manual = _MANUALS["/".join(path.split("/")[:2])]
        page = content.decode("utf-8", "replace")
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
