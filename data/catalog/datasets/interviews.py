"""Lists of interview questions in Markdown: a question → its answer."""

import re
import textwrap
from collections.abc import Iterable, Iterator

from codequarry.data.catalog.datasets import FRONT_MATTER, texts
from codequarry.data.catalog.datasets.documentation import page_title, plain, sections
from codequarry.data.catalog.schema import Files, Git, TrainSource
from codequarry.data.pair import Pair

_NUMBERED = re.compile(r"^[ \t]*\d+\.[ \t]+(?=#)", re.MULTILINE)
_TO_TOP = re.compile(r"^.*Back to Top.*$\n?", re.MULTILINE | re.IGNORECASE)
_FOLDED = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
_QUIZ = re.compile(r"^###### \d+\.\s*(.*?)<details>.*?</summary>(.*?)</details>", re.DOTALL | re.MULTILINE)
_SOURCE = re.compile(r"^#{5,6} Source\b.*", re.DOTALL | re.MULTILINE)
_SHORTEST_QUESTION, _SHORTEST = 10, 60  # characters
_LONGEST = 2_500


def read_interviews(files: Files) -> Iterator[Pair]:
    """The questions of five lists, each in its own layout, with answers of 60 characters and more."""
    for path, page in texts(files):
        found: Iterable[tuple[str, str]]
        owner, topic = path.split("/")[0], path.rpartition("/")[2].removesuffix(".md")
        if owner == "FAQGURU":
            language, found = topic.lower(), _by_heading(page, 3)
        elif owner == "sudheerj":
            language, found = "javascript", _by_heading(_NUMBERED.sub("", page), 3)
        elif owner == "trimstray":
            language, found = "linux", _FOLDED.findall(page)
        elif owner == "lydiahallie":
            language, found = "javascript", _QUIZ.findall(page)
        else:
            language, found = "html", [(page_title(page), FRONT_MATTER.sub("", page, count=1))]
        for question, answer in found:
            question, answer = " ".join(plain(question).split()), plain(answer)
            if len(question) >= _SHORTEST_QUESTION and len(answer) >= _SHORTEST:
                yield Pair("qa", question, answer[:_LONGEST].rstrip(), "interview_techqa", language)


def _by_heading(page: str, level: int) -> Iterator[tuple[str, str]]:
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


_REACTJS = ("sudheerj/reactjs-interview-questions", "4c355593498bb1878953b6b7f23c20c02848909e")
_SYSADMIN = ("trimstray/test-your-sysadmin-skills", "d566322e4f6a656fb835bf34712a67db269d5f2d")
_JAVASCRIPT = ("lydiahallie/javascript-questions", "a8b427b9f7f94f1a2965144ba544b475c5f65829")
_HANDBOOK = ("yangshun/front-end-interview-handbook", "e9a6824b5eee1ae943baf3814cb97879b8372e0a")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="interview_techqa",
        tasks=("qa",),
        where=(
            Git("FAQGURU/FAQGURU", "52f6a1092c388309676d149db379e4c3b7f63771", ("/topics/en/*.md",)),
            Git(*_REACTJS, ("/README.md",)),
            Git(*_SYSADMIN, ("/README.md",)),
            Git(*_JAVASCRIPT, ("/README.md",)),
            Git(*_HANDBOOK, ("/packages/quiz/questions/*/en-US.mdx",)),
        ),
        licence="MIT",
        languages=("angular", "c", "html", "java", "javascript", "linux", "react", "ruby", "sql"),
        read=read_interviews,
        size=2_406,
        note="Five lists of questions. Differs from our first data in indentation; of the handbook the quiz "
        "questions alone are read.",
    ),
)
