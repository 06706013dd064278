import pytest

from codequarry.data.mining.commit_messages import MESSAGE_FILTERS, is_bot, query_of_message
from codequarry.data.mining.reasons import first_reason

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
