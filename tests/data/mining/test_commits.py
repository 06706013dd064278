from collections import Counter

import pytest

from codequarry.data.git import open_repository
from codequarry.data.mining.commits import (
    COMMIT_FILTERS,
    COMMIT_REASONS,
    FOREIGN,
    MAX_DIFF,
    MAX_FILES,
    MESSAGE_FILTERS,
    NOT_HERE,
    is_bot,
    pairs_of_commits,
    query_of_message,
)
from codequarry.data.mining.schema import first_reason

QUERIES = {
    ("Read empty files too (#123)", ""): "Read empty files too",
    ("Read empty files too, fixes #12 and #13", ""): "Read empty files too",
    ("PROJ-1234: Read empty files", ""): "Read empty files",
    ("[PROJ-1234] Read empty files", ""): "Read empty files",
    ("UTF-8 names are read", ""): "UTF-8 names are read",
    ("Use SHA-256 for owner/name#7", ""): "Use SHA-256 for",
    ("Read empty files", "They were\npassed over.\n\nA second paragraph."): (
        "Read empty files. They were passed over."
    ),
    ("Read empty files", "Signed-off-by: Ann <ann@example.org>\nCo-authored-by: Bob"): "Read empty files",
    ("Read empty files", "* one\n* two"): "Read empty files",
    ("Read files as in https://example.org/x/y", ""): "Read files as in",
    ("fix(parser): keep the last line", ""): "fix(parser): keep the last line",
}


@pytest.mark.parametrize(("subject", "body"), QUERIES)
def test_a_message_says_what_was_done_and_nothing_of_the_projects_numbers(subject, body):
    assert query_of_message(subject, body) == QUERIES[subject, body]


REASONS = {
    "commit: merge or revert": ["Merge branch 'main' into other", 'Revert "Read empty files too"'],
    "commit: release or version": [
        "Bump lodash from 4.17.20 to 4.17.21",
        "chore(deps): update dependency eslint to v9",
        "Release version 1.2.3 of it",
        "[maven-release-plugin] prepare for next development iteration",
        "Update copyright year in all files",
        "v1.2.3 and so on it goes",
    ],
    "commit: says nothing": ["wip on the new reader", "Apply suggestions from code review", "fix typos"],
    "commit: under 4 words": ["Read empty files"],
    "commit: over 600 characters": ["Reads more words " * 50],
    "commit: not English": ["Ajoute une fonction pour lire les fichiers", "修复 读取 文件 时 的 错误"],
}


@pytest.mark.parametrize(
    ("reason", "text"), [(why, text) for why, texts in REASONS.items() for text in texts]
)
def test_a_message_that_is_no_query_is_left_out_with_its_reason(reason, text):
    assert first_reason(MESSAGE_FILTERS, text) == reason


def test_every_filter_of_messages_has_a_sample_here():
    assert {row.name for row in MESSAGE_FILTERS} == set(REASONS)


@pytest.mark.parametrize(
    "text",
    [
        "Release the lock when the reader is closed",
        "Update the index after a file was removed",
        "Emerging words are not merged words",
        "Upgrade connections to TLS where they can be",
    ],
)
def test_what_only_begins_alike_is_kept(text):
    assert first_reason(MESSAGE_FILTERS, text) is None


def test_programs_that_commit_are_told_from_people():
    assert is_bot("dependabot[bot] <support@github.com>")
    assert is_bot("renovate <bot@renovateapp.com>")
    assert not is_bot("Abbott <abbott@example.org>")


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


def test_the_diff_changes_back_what_git_says_it_changed(begun):
    """Lines of the diff with a minus were in the old file, lines with a plus are in the new one."""
    begun.commit(
        "Add both numbers at once", {"src/add.py": CHANGED, "src/new.go": "package a\n\nfunc f() {\n}\n"}
    )
    begun.commit("Take the Go file away", {"src/new.go": None, "notes.md": "Away.\n"})
    (deleted, changed), _ = found_in(begun)
    assert "notes.md" not in deleted.pair.document
    assert deleted.pair.document.split("\n")[:2] == ["--- a/src/new.go", "+++ /dev/null"]
    assert (deleted.pair.language, deleted.place) == ("go", "src/new.go")
    lines = changed.pair.document.split("\n")
    assert [line[1:] for line in lines if line.startswith("-    ")] == ["    total = a + b"]
    assert {line[1:] for line in lines if line.startswith("+    ")} <= set(CHANGED.split("\n"))
    assert changed.pair.document.count("+++ b/") == 2


def test_the_settings_of_the_user_change_nothing(begun, monkeypatch, tmp_path):
    begun.commit("Add both numbers at once", {"src/add.py": CHANGED})
    plain, _ = found_in(begun)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[diff]\n noprefix = true\n context = 9\n external = false\n mnemonicPrefix = true\n"
        " orderFile = /none\n algorithm = patience\n[color]\n ui = always\n[log]\n date = iso\n"
        " showSignature = true\n[format]\n pretty = oneline\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    assert found_in(begun)[0] == plain


def test_merges_are_passed_over_and_both_their_sides_are_read(begun):
    begun.git("checkout", "--quiet", "-b", "side")
    begun.commit("Add both numbers at once", {"src/add.py": CHANGED})
    begun.git("checkout", "--quiet", "main")
    begun.commit("Write another file of words", {"src/other.py": BODY.replace("add", "other")})
    begun.git("merge", "--quiet", "--no-ff", "-m", "Merge all of the side", "side")
    found, filtered = found_in(begun)
    assert {one.pair.query for one in found} == {"Add both numbers at once", "Write another file of words"}
    assert not filtered


def test_lines_that_look_like_headers_do_not_end_a_file(begun):
    text = BODY + '"""\n-- a/src/x.py\n++ b/src/y.py\ndiff --git a/z b/z\n"""\n'
    begun.commit("Write what looks like a diff", {"src/add.py": text})
    begun.commit("Take away what looks like a diff", {"src/add.py": BODY})
    found, _ = found_in(begun)
    for one in found:
        assert one.place == "src/add.py"
        assert "diff --git a/z b/z" in one.pair.document


def test_a_clone_that_lacks_a_file_of_one_commit_gives_the_others_and_counts_that_one(begun):
    for number in range(4):
        begun.commit(
            f"Write the file of number {number}", {f"src/part_{number}.py": f"{CHANGED}x = {number}\n"}
        )
    lost = begun.git("rev-parse", "HEAD:src/part_2.py")
    (begun.folder / ".git/objects" / lost[:2] / lost[2:]).unlink()
    found, filtered = found_in(begun)
    assert [one.pair.query for one in found] == [f"Write the file of number {n}" for n in (3, 1, 0)]
    assert filtered == {NOT_HERE.name: 1}


def test_a_history_that_cannot_be_read_at_all_is_a_sentence(begun, monkeypatch):
    begun.commit("Add both numbers at once", {"src/add.py": CHANGED})
    monkeypatch.setattr("codequarry.data.mining.commits._GIVE_UP", 1)
    lost = begun.git("rev-parse", "HEAD:src/add.py")
    (begun.folder / ".git/objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(ValueError, match=r"git could not read the history of project: .*unable to read"):
        found_in(begun)


def test_a_message_with_a_list_is_not_taken_for_lines_of_the_diff_before_it(begun):
    begun.commit(
        "Read one more file\n\nIt holds numbers:\n- one\n+ two\n  three", {"src/b.py": BODY + "x = 1\n"}
    )
    begun.commit("Add both numbers at once", {"src/add.py": CHANGED})
    newest, older = found_in(begun)[0]
    assert newest.pair.document.endswith("     return total")
    assert older.pair.query == "Read one more file"
