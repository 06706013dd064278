"""Small public corpora of one sentence and one snippet each: NL2Bash, CoNaLa, CONCODE, CodeNN, 30 seconds."""

import json
import re
from collections.abc import Iterator

from codequarry.data.pair import Pair
from codequarry.data.sources.eval_readers.so_codenn import is_held_out
from codequarry.data.sources.schema import Files

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_FEWEST_WORDS = 4  # of a CONCODE comment: "getter for percentage" describes no code
_FEWEST_CHARACTERS = 30  # of a CONCODE method: an empty body is shorter
_SHORTEST = 15  # characters of a question and of an answer on Stack Overflow


def read_nl2bash(files: Files) -> Iterator[Pair]:
    """NL2Bash: line n of `all.nl` describes line n of `all.cm`."""
    texts = {path.rpartition(".")[2]: content.decode().split("\n") for path, content in files}
    for sentence, command in zip(texts["nl"], texts["cm"], strict=True):
        if sentence.strip() and command.strip():
            yield Pair("nl2code", sentence.strip(), command.strip(), "nl2bash", "bash")


def read_conala(files: Files) -> Iterator[Pair]:
    """CoNaLa: the rewritten intent, else the title, → the snippet."""
    for _, content in files:
        for entry in json.loads(content):
            intent = (entry["rewritten_intent"] or entry["intent"]).strip()
            yield Pair("nl2code", intent, entry["snippet"].strip(), "conala", "python")


def read_concode(files: Files) -> Iterator[Pair]:
    """CONCODE: a method's comment, without the class around it, → its tokens; nothing trivial."""
    for _, content in files:
        for line in content.decode().splitlines():
            entry = json.loads(line)
            comment, code = entry["nl"].partition("concode_field_sep")[0].strip(), entry["code"].strip()
            if len(comment.split()) >= _FEWEST_WORDS and len(code) > _FEWEST_CHARACTERS:
                yield Pair("nl2code", comment, code, "concode", "java")


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
            if len(title) >= _SHORTEST and len(code) >= _SHORTEST:
                yield Pair("nl2code", title, code, "so_codenn", language)


def read_thirty_seconds(files: Files) -> Iterator[Pair]:
    """30 seconds of code: the first sentence of a snippet's page → its code."""
    for _, content in files:
        page = _FRONT_MATTER.sub("", content.decode(), count=1).strip()
        code = _FENCE.search(page)
        sentence = re.split(r"\.(?:\s|$)|\n\n", page, maxsplit=1)[0]
        sentence = re.sub(r"[`*]", "", " ".join(sentence.split())).strip()
        if code and sentence:
            yield Pair("nl2code", sentence, code[2].strip(), "snippets30", "javascript")
