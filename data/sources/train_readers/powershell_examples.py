"""PowerShell reference pages: what an example shows → its commands."""

import re
from collections.abc import Iterator

from codequarry.data.pair import Pair
from codequarry.data.sources.schema import Files
from codequarry.data.sources.train_readers.markdown_sections import plain, sections

_TITLE = re.compile(r"-*\s*(?:example\b\s*#?\d*)?[\s:.\u2013\u2014-]*(.*?)[\s-]*$", re.IGNORECASE | re.DOTALL)
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w-]*)[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_PROMPT = re.compile(r"PS(?: [^>]*)?>+ ?")
_NOT_INPUT = ("output", "console")
_FEWEST_WORDS = 4  # of a title that stands without the sentence below it
_SHORTEST = 11  # characters of a query
_LONGEST = 2_500  # characters of commands


def read_powershell(files: Files) -> Iterator[Pair]:
    """One pair an example: its title, with the first sentence below it where it is short, → its first block.

    Blocks of output are left out; of a block that shows prompts, the lines behind a prompt are taken.
    """
    for _, content in files:
        inside = False
        for section in sections(content.decode("utf-8", "replace")):
            if section.level <= 2:
                inside = section.heading.strip().upper() == "EXAMPLES"
                continue
            if not inside:
                continue
            blocks = _FENCE.findall(section.text)
            inputs = [code for language, code in blocks if language.lower() not in _NOT_INPUT]
            commands = _commands(inputs[0]) if inputs else ""
            found = _TITLE.match(section.heading)
            title = found[1].strip() if found else section.heading
            if len(title.split()) < _FEWEST_WORDS:
                prose = plain(_FENCE.sub("", section.text)).partition("\n\n")[0]
                title = " ".join(f"{title} {prose}".split())
            if len(title) >= _SHORTEST and 0 < len(commands) <= _LONGEST:
                yield Pair("nl2code", title, commands, "powershell", "powershell")


def _commands(block: str) -> str:
    lines = block.strip().split("\n")
    typed = [line[found.end() :] for line in lines if (found := _PROMPT.match(line))]
    return "\n".join(typed or lines).strip()
