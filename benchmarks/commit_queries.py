"""A commit's message as a search query, in the words that mining gives it, or why it is none."""

import re
from collections.abc import Iterable

from codequarry.data.git_history import Commit
from codequarry.data.mining.commit_messages import MESSAGE_FILTERS, is_bot, query_of_message
from codequarry.data.mining.reasons import first_reason

MIN_TELLING_WORDS = 3  # different words that tell this change from others

# Words that a message of any change may hold. "Fix typo in the docs" is made of nothing else.
_COMMON = """
    a add added adding additional address all also an and any apply as at be better bug bugs build by
    can change changed changelog changes check ci clean cleanup code comment comments commit correct do
    doc docs docstring docstrings document documentation error errors example examples feedback few file
    files first fix fixed fixes fixing for format formatting from further if implement improve improved
    improvements in initial into is issue issues it javadoc last lint linter linting little make merge
    minor misc more move moved my new not note of on one or other our pr pre refactor refactored
    refactoring release remove removed removing rename renamed review rewrite run simplify slightly
    small some source spelling stuff style suggestion suggestions test tested tests text that the their
    them this tidy to tweak tweaks typo typos unit up update updated updates use used using various
    version warning warnings was we when whitespace wip with wording work
"""
_WEB_EDIT = re.compile(r"(update|create|delete|rename) [\w./-]+\.\w+", re.IGNORECASE)  # a web form's default
_WORD = re.compile(r"[^\W\d_]{2,}")


def query_or_reason(commit: Commit) -> tuple[str, str | None]:
    """The message as a query, and why it cannot be one; None when it can."""
    query = query_of_message(commit.subject, commit.body)
    signed = (line for line in commit.body.split("\n") if line.lower().startswith("signed-off-by:"))
    if any(map(is_bot, (commit.author, *signed))):
        return query, "commit: by a bot"
    if reason := first_reason(MESSAGE_FILTERS, query):
        return query, reason
    telling = {word.lower() for word in _WORD.findall(query)} - set(_COMMON.split())
    if len(telling) < MIN_TELLING_WORDS or _WEB_EDIT.fullmatch(query):
        return query, "commit: does not say what about"
    return query, None


def names_one_of(query: str, paths: Iterable[str]) -> bool:
    """Whether a query names one of the files, by its name with or without the ending, as a whole word.

    >>> names_one_of("Let JsonReader skip comments", ["src/JsonReader.java"])
    True
    """
    names = {name for path in paths for name in (path.split("/")[-1], path.split("/")[-1].split(".")[0])}
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", query) for name in names if name)
