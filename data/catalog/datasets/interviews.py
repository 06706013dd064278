"""Lists of interview questions in Markdown: a question → its answer."""

import re
import textwrap
from collections.abc import Iterator

from codequarry.data.catalog.datasets.documentation import page_title, plain, sections
from codequarry.data.catalog.schema import Files
from codequarry.data.pair import Pair

_NUMBERED = re.compile(r"^[ \t]*\d+\.[ \t]+(?=#)", re.MULTILINE)
_TO_TOP = re.compile(r"^.*Back to Top.*$\n?", re.MULTILINE | re.IGNORECASE)
_FOLDED = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
_QUIZ = re.compile(r"^###### \d+\.\s*(.*?)<details>.*?</summary>(.*?)</details>", re.DOTALL | re.MULTILINE)
_SOURCE = re.compile(r"^#{5,6} Source\b.*", re.DOTALL | re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\s*\n.*?\n---\s*\n", re.DOTALL)
_SHORTEST_QUESTION, _SHORTEST = 10, 60  # characters
_LONGEST = 2_500

Answers = Iterator[tuple[str, str]]


def read_interviews(files: Files) -> Iterator[Pair]:
    """The questions of five lists, each in its own layout, with answers of 60 characters and more."""
    for path, content in files:
        owner, topic = path.split("/")[0], path.rpartition("/")[2].removesuffix(".md")
        page = content.decode("utf-8", "replace").replace("\r\n", "\n")
        if owner == "FAQGURU":
            language, found = topic.lower(), _by_heading(page, 3)
        elif owner == "sudheerj":
            language, found = "javascript", _by_heading(_NUMBERED.sub("", page), 3)
        elif owner == "trimstray":
            language, found = "linux", _folded(page)
        elif owner == "lydiahallie":
            language, found = "javascript", _quizzed(page)
        else:
            language, found = "html", iter([(page_title(page), _FRONT_MATTER.sub("", page, count=1))])
        for question, answer in found:
            question, answer = " ".join(plain(question).split()), plain(answer)
            if len(question) >= _SHORTEST_QUESTION and len(answer) >= _SHORTEST:
                yield Pair("qa", question, answer[:_LONGEST].rstrip(), "interview_techqa", language)


def _by_heading(page: str, level: int) -> Answers:
    question, answer = "", list[str]()
    for part in sections(page):
        if part.level <= level:
            if question:
                yield question, _joined(answer)
            question, answer = part.heading if part.level == level else "", [part.text]
        else:
            answer.append(f"{'#' * part.level} {part.heading}\n{part.text}")
    if question:
        yield question, _joined(answer)


def _joined(parts: list[str]) -> str:
    # Under a numbered question the answer is indented as the list's item.
    return textwrap.dedent(_TO_TOP.sub("", _SOURCE.sub("", "\n".join(parts))))


def _folded(page: str) -> Answers:
    yield from _FOLDED.findall(page)


def _quizzed(page: str) -> Answers:
    yield from _QUIZ.findall(page)
