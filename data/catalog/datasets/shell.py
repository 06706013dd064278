"""tldr-pages: what a command line does → the line, and what a command is for → its page."""

import re
from collections.abc import Iterator

from codequarry.data.catalog.datasets import AZURE, FRONT_MATTER, POWERSHELL, lot, texts
from codequarry.data.catalog.datasets.documentation import plain, sections
from codequarry.data.catalog.schema import Files, Git, TrainSource
from codequarry.data.pair import Pair

_EXAMPLE = re.compile(r"^- (.*?):?\n\n`(.*)`$", re.MULTILINE)
_OPTION = re.compile(r"\{\{\[([^|\]{}]*)\|[^\]{}]*\]\}\}")
_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")
_NOT_ABOUT = ("More information", "See also")
_FEWEST_WORDS = 3  # of a query without its command's name: "Display help" would fit every one


def read_commands(files: Files) -> Iterator[Pair]:
    """One pair per example: its description → its command line, placeholders without their braces.

    Of `{{[-s|--long]}}` the first is taken. A description that does not name the command has its name in
    front in two of three cases, decided by a checksum, and always where it is shorter than three words.
    """
    for path, content in files:
        name = _name(path)
        for description, line in _EXAMPLE.findall(content.decode()):
            says_it = name.partition("-")[0] in description
            chosen = lot(name, description) % 3 > 0
            if (chosen and not says_it) or len(description.split()) < _FEWEST_WORDS:
                description = f"{name}: {description}"
            line = _PLACEHOLDER.sub(r"\1", _OPTION.sub(r"\1", line)).strip()
            if line:
                language = "powershell/cmd" if "/windows/" in path else "bash"
                yield Pair("nl2code", description, line, "tldr", language)


def read_pages(files: Files) -> Iterator[Pair]:
    """One pair per page: "What does … do?" → the page, or its description → the page without it.

    Which of the two is decided by a checksum of the page's path.
    """
    for path, content in files:
        name, page = _name(path), content.decode().strip()
        about = [line[2:] for line in page.splitlines() if line.startswith("> ")]
        description = " ".join(line for line in about if not line.startswith(_NOT_ABOUT))
        examples = page[page.find("\n- ") :].strip()
        if not description or not examples.startswith("- "):
            continue
        if lot(path.split("/", 2)[2]) % 2:
            yield Pair("qa", f"What does the {name} command do?", page, "tldr_techqa", "bash")
        else:
            yield Pair("qa", description, f"# {name}\n{examples}", "tldr_techqa", "bash")


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".md")


_INSIDE = re.compile(r"#(\s|$)")
_SHORTEST = 10  # characters of a comment
_FEWEST_COMMENT_WORDS = 2
_LONGEST = 1_200  # characters of lines: what is longer is a table of keys


def read_cheat_sheets(files: Files) -> Iterator[Pair]:
    """One pair per block between blank lines: its comment, joined to one line, → what follows.

    A block with another comment further down is left out: the first would not describe all of it. Sheets
    of a programming language are in a folder `_language`; the others are for the shell.
    """
    for path, content in files:
        try:
            sheet = FRONT_MATTER.sub("", content.decode(), count=1)
        except UnicodeDecodeError:
            continue
        if path.rpartition("/")[2].startswith(("_", ".", "LICENSE", "README")):
            continue
        folder = path.split("/")[-2]
        language = folder[1:] if folder.startswith("_") else "bash"
        for block in re.split(r"\n\s*\n", sheet):
            lines = [line.rstrip() for line in block.split("\n") if line.strip()]
            body = next((n for n, line in enumerate(lines) if not line.lstrip().startswith("#")), len(lines))
            comment = " ".join(word for line in lines[:body] for word in line.strip().lstrip("#").split())
            comment = comment.rstrip(":").strip()
            code = "\n".join(lines[body:]).strip()
            if len(comment) < _SHORTEST or len(comment.split()) < _FEWEST_COMMENT_WORDS:
                continue
            if 0 < len(code) <= _LONGEST and not any(_INSIDE.match(line) for line in lines[body:]):
                yield Pair("nl2code", comment, code, "cheatsheets", language)


_TITLE = re.compile(r"-*\s*(?:example\b\s*#?\d*)?[\s:.\u2013\u2014-]*(.*?)[\s-]*$", re.IGNORECASE | re.DOTALL)
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w-]*)[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_PROMPT = re.compile(r"PS(?: [^>]*)?>+ ?")
_NOT_INPUT = ("output", "console")
_FEWEST_TITLE_WORDS = 4  # of a title used without the sentence below it
_SHORTEST_TITLE = 11  # characters of a query
_LONGEST_COMMANDS = 2_500  # characters of commands


def read_powershell(files: Files) -> Iterator[Pair]:
    """One pair per example: its title, with the first sentence below it where it is short, → its first block.

    Blocks of output are left out; of a block that shows prompts, the lines after a prompt are taken.
    """
    for _, page in texts(files):
        inside = False
        for section in sections(page):
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
            if len(title.split()) < _FEWEST_TITLE_WORDS:
                prose = plain(_FENCE.sub("", section.text)).partition("\n\n")[0]
                title = " ".join(f"{title} {prose}".split())
            if len(title) >= _SHORTEST_TITLE and 0 < len(commands) <= _LONGEST_COMMANDS:
                yield Pair("nl2code", title, commands, "powershell", "powershell")


def _commands(block: str) -> str:
    lines = block.strip().split("\n")
    typed = [line[found.end() :] for line in lines if (found := _PROMPT.match(line))]
    return "\n".join(typed or lines).strip()


def read_nl2bash(files: Files) -> Iterator[Pair]:
    """NL2Bash: line n of `all.nl` describes line n of `all.cm`."""
    texts = {path.rpartition(".")[2]: content.decode().split("\n") for path, content in files}
    for sentence, command in zip(texts["nl"], texts["cm"], strict=True):
        if sentence.strip() and command.strip():
            yield Pair("nl2code", sentence.strip(), command.strip(), "nl2bash", "bash")


_TLDR = Git("tldr-pages/tldr", "08e345f42639f67d99282813247ac670dc6e87cb", ("/pages/**/*.md",))
_NL2BASH = ("TellinaTool/nl2bash", "466c5fe873ab08c7cc0112ea1521cc6ad9c20992")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="tldr",
        tasks=("nl2code",),
        where=(_TLDR,),
        licence="CC-BY-4.0",
        languages=("bash", "powershell/cmd"),
        read=read_commands,
        size=31_891,
        note="The tldr-pages contributors. Every command line of our first data is here; which descriptions "
        "bear the name differs.",
    ),
    TrainSource(
        name="tldr_techqa",
        tasks=("qa",),
        where=(_TLDR,),
        licence="CC-BY-4.0",
        languages=("bash",),
        read=read_pages,
        size=7_421,
        note="The tldr-pages contributors. Every pair of our first data is here, and 410 more.",
    ),
    TrainSource(
        name="powershell",
        tasks=("nl2code",),
        where=(
            Git(*POWERSHELL, ("/reference/5.1/**/*.md", "/reference/7.7/**/*.md")),
            Git(*AZURE, ("/azps-16.2.0/**/*.md",)),
        ),
        licence="CC-BY-4.0",
        languages=("powershell",),
        read=read_powershell,
        size=16_597,
        note="Microsoft and contributors; the code in it is MIT. Differs from our first data in blocks that "
        "show output behind a prompt.",
    ),
    TrainSource(
        name="cheatsheets",
        tasks=("nl2code",),
        where=(
            Git("chubin/cheat.sheets", "0bcedfb1d218d1218bbc0e9cf809ebca0d367e6d", ("/sheets/**",)),
            Git("cheat/cheatsheets", "36bdb99dcfadde210503d8c2dcf94b34ee950e1d", ("/*", "!/.*")),
        ),
        licence="MIT",
        languages=("bash", "perl", "python", "redis", "ruby", "rust"),
        read=read_cheat_sheets,
        size=5_172,
        note="chubin/cheat.sheets is MIT, cheat/cheatsheets CC0-1.0. All but eight pairs of our first data, "
        "and 238 more.",
    ),
    TrainSource(
        name="nl2bash",
        tasks=("nl2code",),
        where=(Git(*_NL2BASH, ("/data/bash/all.nl", "/data/bash/all.cm")),),
        licence="MIT",
        languages=("bash",),
        read=read_nl2bash,
        size=12_607,
        note="NL2Bash, Lin et al. 2018. data/bash is MIT; the rest is GPL-3.0 and not read.",
    ),
)
