"""The archived Stack Overflow Documentation: what an example is about → its code, or its whole text."""

import re
import textwrap
from collections.abc import Iterator

from codequarry.data.catalog.datasets import json_arrays, lot, texts
from codequarry.data.catalog.datasets.documentation import page_title
from codequarry.data.catalog.schema import EvalSource, Files, Git, TrainSource
from codequarry.data.eval_set import EvalSet, set_of_pairs
from codequarry.data.pair import Pair

_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DEFINITION = re.compile(r"^\s*\[[^\]]+\]:\s+\S.*$\n?", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\([^()\s]*(?:\([^()]*\))?[^()\s]*\)")
_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^(?: {4}|\t).*(?:\n|\Z)(?:[ \t]*\n(?=(?: {4}|\t)))*)+", re.MULTILINE)
_NOT_EXAMPLES = ("Remarks", "Parameters", "Syntax", "Versions")
_SHORTEST = 80  # characters of code or text
_SHORTEST_WORDS = 20  # characters of explanation
_LONGEST = 3_000


def read_code(files: Files) -> Iterator[Pair]:
    """The longest code block, from 80 characters, of half of the examples that explain theirs in words."""
    for query, _, code, language in _examples(files):
        if code:
            yield Pair("nl2code", query, code[:_LONGEST].rstrip(), "sodocs_nl2code", language)


def read_text(files: Files) -> Iterator[Pair]:
    """The whole text of every other example; no example is in both sets."""
    for query, text, code, language in _examples(files):
        text = re.sub(r"\n{3,}", "\n\n", text).strip("\n").rstrip()
        if not code and len(text.strip()) >= _SHORTEST:
            yield Pair("qa", query, text[:_LONGEST].rstrip(), "sodocs_techqa", language)


def _examples(files: Files) -> Iterator[tuple[str, str, str, str]]:
    """Query, text, code and language of each example; the code is "" where only the text counts.

    A checksum decides which examples are asked for their code, where it is long enough and explained.
    """
    for path, page in texts(files):
        folder, _, file = path.rpartition("/")
        topic = folder.rpartition("/")[2]
        if file == "_index.md":
            continue
        title, parts = page_title(page), _HEADING.split(page)
        subject = topic.replace("-", " ")
        for heading, text in zip(parts[1::2], parts[2::2], strict=True):
            heading = heading.strip()
            if heading in _NOT_EXAMPLES:
                continue
            said = f"{title} {heading}".lower()
            is_said = subject.lower() in said or title.lower().startswith("getting started")
            query = f"{heading} ({subject})" if is_said else f"{subject}: {title} - {heading}"
            text = _LINK.sub(r"\1", _DEFINITION.sub("", _COMMENT.sub("", text)))
            chosen = lot(path.split("/", 2)[2] + heading) % 100 < 50
            yield query, text, _explained_code(text) if chosen else "", topic.partition("-")[0]


def _explained_code(text: str) -> str:
    """The longest code block, without its indentation; "" where it is short or not explained."""
    unfenced = _FENCED.sub("", text)
    indented = [textwrap.dedent(block) for block in _INDENTED.findall(unfenced)]
    blocks = [block.strip("\n").rstrip() for block in _FENCED.findall(text) + indented]
    code = max(blocks, key=len, default="")
    explained = len(_INDENTED.sub("", unfenced).strip()) >= _SHORTEST_WORDS
    return code if explained and len(code) >= _SHORTEST else ""


_LANGUAGES = ("csharp", "sql", "python")
_SHORTEST_CODE, _LONGEST_CODE = 15, 1000  # characters of code
_WORDS = 3  # of a title
_HELD_OUT = 15  # percent of the test files


def read_so_codenn(files: Files) -> EvalSet:
    """The held-out slice of the test files, C# first, then SQL, then Python."""
    by_language = {path.split("/")[-2]: content for path, content in files}
    pairs = (
        (title, code, language)
        for language in _LANGUAGES
        for question, title, code in rows(by_language.get(language, b""))
        if is_held_out(question)
    )
    return set_of_pairs("so_codenn", "nl2code", pairs)


def is_held_out(question: str) -> bool:
    """Whether a test row belongs to the evaluation set, by the number of its question.

    The other rows of the test files may be trained on.
    """
    return lot(question) % 100 < _HELD_OUT


def rows(content: bytes) -> Iterator[tuple[str, str, str]]:
    """(number of the question, title, code) of every usable line of one of CODE-NN's files.

    A line is: question, answer, title, code, label, with tabs between them and escapes in the code. Left out
    is what is no whole line, a title of one or two words, and code under 15 or over 1,000 characters.
    """
    for line in content.decode("utf-8", "replace").split("\n"):
        cells = line.rstrip("\r").split("\t")
        if len(cells) != 5:
            continue
        title = cells[2].strip()
        code = cells[3].replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"').strip()
        if len(title.split()) >= _WORDS and _SHORTEST_CODE <= len(code) <= _LONGEST_CODE:
            yield cells[0], title, code


_SHORTEST_TEXT = 15  # characters of a question and of an answer on Stack Overflow


def read_conala_pairs(files: Files) -> Iterator[Pair]:
    """CoNaLa's training split: the rewritten intent, else the title, → the snippet."""
    for intent, snippet, language in _conala(files):
        yield Pair("nl2code", intent, snippet, "conala", language)


def read_conala(files: Files) -> EvalSet:
    """CoNaLa's test split, in the same way."""
    return set_of_pairs("conala", "nl2code", _conala(files))


def _conala(files: Files) -> Iterator[tuple[str, str, str]]:
    for row in json_arrays(files):
        yield (row["rewritten_intent"] or row["intent"]).strip(), row["snippet"].strip(), "python"


def read_codenn(files: Files) -> Iterator[Pair]:
    """CodeNN: the title of a Stack Overflow question → the only snippet of its accepted answer.

    The rows of the test files that are evaluated on are left out.
    """
    for path, content in files:
        language = path.split("/")[-2]
        for line in content.decode("utf-8", "replace").splitlines():
            cells = line.split("\t")
            if len(cells) < 4 or (path.endswith("/test.txt") and is_held_out(cells[0])):
                continue
            title = cells[2].strip()
            code = cells[3].replace("\\n", "\n").replace("\\t", "\t").strip()
            if len(title) >= _SHORTEST_TEXT and len(code) >= _SHORTEST_TEXT:
                yield Pair("nl2code", title, code, "so_codenn", language)


_PROSE_LANGUAGES = ("android", "csharp", "ios", "java", "javascript", "php", "python", "ruby", "sql")
_WIKIOD = Git("wikiod-com/wikiod", "9c05f416f46d3cd6f219611ce64f5dc30f29a298", ("/en/docs/**/*.md",))
_CODENN = ("sriniiyer/codenn", "0f7fbb8b298a84faf4a14a8f76199e39af685e4a")
_TOPICS = tuple(f"/data/stackoverflow/{language}" for language in _LANGUAGES)
_CONALA = ("shilliscmu/TranxConalaBaseline", "5520285387d946e826f4cc5a4a0a1bf7361355e5")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="so_codenn",
        tasks=("nl2code",),
        where=(Git(*_CODENN, tuple(f"{at}/{split}.txt" for at in _TOPICS for split in ("valid", "test"))),),
        licence="CC-BY-SA-3.0",
        languages=("csharp", "python", "sql"),
        read=read_codenn,
        size=23_066,
        note="CodeNN, Iyer et al. 2016; the texts are of Stack Overflow's users. Validation and test files "
        "without what is evaluated on; the training files hold the same in volume. Differs from our first "
        "data where a quote was escaped in the code: it stays so.",
    ),
    TrainSource(
        name="sodocs_nl2code",
        tasks=("nl2code",),
        where=(_WIKIOD,),
        licence="CC-BY-SA-3.0",
        languages=_PROSE_LANGUAGES,
        read=read_code,
        size=9_112,
        note="The archived Stack Overflow Documentation, by its users. Differs from our first data in which "
        "half of the examples is asked for its code.",
    ),
    TrainSource(
        name="sodocs_techqa",
        tasks=("qa",),
        where=(_WIKIOD,),
        licence="CC-BY-SA-3.0",
        languages=_PROSE_LANGUAGES,
        read=read_text,
        size=18_665,
        note="The archived Stack Overflow Documentation, by its users. Differs from our first data in which "
        "examples are not asked for their code, and in links.",
    ),
    TrainSource(
        name="conala",
        tasks=("nl2code",),
        where=(Git(*_CONALA, ("/conala-train.json",)),),
        licence="CC-BY-SA-4.0",
        languages=("python",),
        read=read_conala_pairs,
        size=2_366,
        note="CoNaLa, Yin et al. 2018, its annotated training split; the test split is evaluated on.",
    ),
)

EVAL_SOURCES: tuple[EvalSource, ...] = (
    EvalSource(
        name="so_codenn",
        task="nl2code",
        where=(Git(*_CODENN, tuple(f"{at}/test.txt" for at in sorted(_TOPICS))),),
        licence="CC-BY-SA-3.0",
        languages=("csharp", "sql", "python"),
        read=read_so_codenn,
        mirrors="StackOverflowQA",
        faithful="Only the kind of question is the same: titles and short, noisy snippets here, whole posts "
        "there. Do not compare scores.",
        queries=1868,
        documents=1868,
    ),
    EvalSource(
        name="conala",
        task="nl2code",
        where=(Git(*_CONALA, ("/conala-test.json",)),),
        licence="CC-BY-SA-4.0",
        languages=("python",),
        read=read_conala,
        faithful="Our own retrieval set, from CoNaLa's test split; MTEB has none.",
        queries=472,
        documents=490,
    ),
)
