"""A commit's message as a query: what was done, without numbers of issues, trailers and signatures."""

import re

from codequarry.data.mining.english import is_english
from codequarry.data.mining.reasons import Filter

MIN_WORDS = 4
MAX_MESSAGE = 600  # characters

_ISSUE = re.compile(
    r"\s*[(\[]?(?:\b(?:fix(?:e[sd])?|close[sd]?|resolve[sd]?|refs?|see|issue|pr|bug|ticket|part of)\b[\s:]*)*"
    r"(?:(?:\b[\w.-]+/[\w.-]+)?#|\bGH-|\bissue |\bbug )\d+\b(?:\s*(?:,|and|&)\s*#\d+)*[)\]]?",
    re.IGNORECASE,
)
_TRACKER = re.compile(r"^(?!UTF|SHA|ISO|RFC|CVE|MD)\[?[A-Z][A-Z0-9]+-\d+\]?(?:[:,\s-]+|$)")  # as in Jira
_TRAILER = re.compile(
    r"^\s*([A-Z][\w-]+-(by|off|on|from|to|url|id)|co-authored-by|signed-off-by|reviewed-by|change-id|fixes"
    r"|closes|refs?|see|issue|bug|pr|cc|git-svn-id|differential revision|summary|test plan|https?)\s*:",
    re.IGNORECASE,
)
_LINK = re.compile(r"\s*\(?<?https?://\S+>?\)?")
_MERGE = re.compile(r"(merge[ds]?\b|revert(s|ed)?\b|back out\b|\"?revert \"|cherry[- ]pick)", re.IGNORECASE)
_RELEASE = re.compile(
    r"(chore(\([^)]*\))?: )?((build|deps|chore|ci)(\([^)]*\))?: ?)?"
    r"((bump|upgrade|update|pin|prepare|set|increase|increment|change|start|begin|post)\b.*"
    r"(\bversions?\b|\bdependenc|\bdeps\b|\bfrom v?\d|\bto v?\d+\.|\brelease\b|\bdevelopment\b|v?\d+\.\d+)"
    r"|(releas|version|preparing|prepare|tag)\w*\b.{0,20}\d|v?\d+(\.\d+)+\b|changelog\b|update copyright"
    r"|\[maven-release-plugin\])",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"(wip\b|fix(ed|es)? (typos?|lint|tests?|build|ci|style|formatting|warnings?)\W*$|typos?\b|oops|minor\b"
    r"|(apply |address |from )?(code )?review\b|apply suggestions|lint\w*\W*$|clean ?up\W*$|format\w*\W*$"
    r"|fixup!|squash!|temp\b|initial commit|first commit|updates?\W*$|changes?\W*$)",
    re.IGNORECASE,
)
_BOT = re.compile(r"\[bot\]|\bbot\b|dependabot|renovate|greenkeeper|pre-commit-ci|github-actions|snyk", re.I)


def query_of_message(subject: str, body: str) -> str:
    """The subject and the body's first paragraph in one line, without what only the project understands.

    >>> query_of_message("Read empty files too (#123)", "Fixes #99\\n\\nSigned-off-by: A <a@example.org>")
    'Read empty files too'
    """
    title = _clean(subject)
    paragraph = _first_paragraph(body)
    if not paragraph:
        return title
    return f"{title}{'' if title.endswith(('.', '!', '?', ':')) else '.'} {paragraph}" if title else paragraph


def _first_paragraph(body: str) -> str:
    """The first paragraph of a body that says something in sentences: a list is none, nor are trailers."""
    first = re.split(r"\n\s*\n", body.strip(), maxsplit=1)[0]
    lines = [line.strip() for line in first.split("\n") if not _TRAILER.match(line)]
    if any(line.startswith(("*", "-", "+", "#", "```", ">", "(cherry")) for line in lines):
        return ""
    text = _clean(" ".join(lines))
    return text if len(text) >= MIN_WORDS and " " in text and len(text) <= MAX_MESSAGE // 2 else ""


def _clean(text: str) -> str:
    text = _ISSUE.sub("", _LINK.sub("", _TRACKER.sub("", text.strip())))
    return " ".join(text.split()).strip(" -:,;")


MESSAGE_FILTERS: tuple[Filter[str], ...] = (
    Filter("commit: merge or revert", "by its subject", lambda text: _MERGE.match(text) is not None),
    Filter("commit: release or version", "it moves a version", lambda text: _RELEASE.match(text) is not None),
    Filter("commit: says nothing", "wip, typo, review and the like", lambda text: bool(_EMPTY.match(text))),
    Filter(
        f"commit: under {MIN_WORDS} words",
        "too short a message",
        lambda text: len(re.findall(r"[^\W\d_]\w*", text)) < MIN_WORDS,
    ),
    Filter(
        f"commit: over {MAX_MESSAGE} characters", "too long a message", lambda text: len(text) > MAX_MESSAGE
    ),
    Filter("commit: not English", "a message in another language", lambda text: not is_english(text)),
)


def is_bot(author: str) -> bool:
    """Whether a name or an address belongs to a program that commits."""
    return _BOT.search(author) is not None
