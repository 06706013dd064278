from collections import Counter

import pytest

from codequarry.data.git_repository import open_repository
from codequarry.data.mining.commit_diffs import (
    COMMIT_FILTERS,
    COMMIT_REASONS,
    FOREIGN,
    MAX_FILES,
    NOT_HERE,
    pairs_of_commits,
)
from codequarry.data.mining.commit_stream import MAX_DIFF

BODY = "def add(a, b):\n    total = a + b\n    return total\n"
CHANGED = BODY.replace("    total = a + b\n", "    # The sum.\n    total = sum((a, b))\n")


def found_in(repository):
    filtered = Counter()
    opened = open_repository(str(repository.folder))
    return list(pairs_of_commits(opened, opened.resolve(), "project", filtered, progress=False)), +filtered


@pytest.fixture
def begun(repository):
    """A repository whose first commit, having no parent, gives no pair."""
    repository.commit("Begin the whole thing", {"src/add.py": BODY})
    return repository


def test_a_commit_gives_its_message_and_its_diff(begun):
    begun.commit(
        "Add both numbers at once (#12)\n\nIt is faster.\n\nReviewed-by: Bob", {"src/add.py": CHANGED}
    )
    (one,), _ = found_in(begun)
    assert one.pair.query == "Add both numbers at once. It is faster."
    assert one.pair.document.split("\n") == [
        "--- a/src/add.py",
        "+++ b/src/add.py",
        "@@",
        " def add(a, b):",
        "-    total = a + b",
        "+    # The sum.",
        "+    total = sum((a, b))",
        "     return total",
    ]
    assert (one.pair.task, one.pair.language, one.pair.source) == ("nl2code", "python", "project")
    assert (one.place, one.time) == ("src/add.py", 1577836800 + 2 * 86400)


SAMPLES = {
    "commit: by a bot": ({"src/add.py": CHANGED}, {"author": "dependabot[bot] <x@example.org>"}),
    "commit: no source file": ({"vendor/add.py": CHANGED, "a.min.js": "let a = 1\nlet b = 2\n"}, {}),
    f"commit: over {MAX_FILES} source files": (
        {f"src/part_{n}.py": CHANGED for n in range(MAX_FILES + 1)},
        {},
    ),
    f"commit: over {MAX_DIFF} characters of diff": ({"src/add.py": CHANGED + "x = 1\n" * MAX_DIFF}, {}),
    "commit: under 2 changed lines": ({"src/add.py": BODY + "x = 1\n"}, {}),
    "commit: not UTF-8": ({"src/add.py": CHANGED.encode() + b"# caf\xe9\n"}, {}),
}


@pytest.mark.parametrize("reason", SAMPLES)
def test_a_commit_that_teaches_nothing_is_left_out_with_its_reason(begun, reason):
    files, more = SAMPLES[reason]
    begun.commit("Add both numbers at once", files, **more)
    found, filtered = found_in(begun)
    assert (found, filtered) == ([], {reason: 1})


def test_every_filter_of_commits_has_a_sample_here():
    named = {row.name for row in (*COMMIT_FILTERS, *COMMIT_REASONS)}
    assert named == {*SAMPLES, NOT_HERE.name, FOREIGN.name}  # these two have tests of their own
