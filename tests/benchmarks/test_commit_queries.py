import pytest

from codequarry.benchmarks.commit_queries import names_one_of, query_or_reason
from codequarry.data.git_history import Commit


def commit(subject: str, body: str = "", author: str = "Ann <ann@example.org>") -> Commit:
    return Commit("0" * 40, "1" * 40, 0, author, subject, body, ())


def test_a_message_is_asked_without_issue_numbers_and_signatures() -> None:
    body = "Fixes #12\n\nSigned-off-by: A <a@example.org>"
    assert query_or_reason(commit("Keep the length of chunked answers (#7)", body)) == (
        "Keep the length of chunked answers",
        None,
    )


@pytest.mark.parametrize(
    ("subject", "body", "reason"),
    [
        ("Fix a few small typos in the docs", "", "commit: does not say what about"),
        ("Update src/reader/tokens.py", "", "commit: does not say what about"),
        ("Fix it", "", "commit: under 4 words"),
        ("Revert \"Read empty files too in the lexer\"", "", "commit: merge or revert"),
        ("Release version 8.1.8 of the library", "", "commit: release or version"),
        (
            "Regenerate parser tables for grammar",
            "Signed-off-by: dependabot[bot] <d@example.org>",
            "commit: by a bot",
        ),
    ],
)  # fmt: skip
def test_a_message_that_nobody_could_answer_has_its_reason(subject: str, body: str, reason: str) -> None:
    assert query_or_reason(commit(subject, body))[1] == reason


def test_a_commit_of_a_program_is_not_asked() -> None:
    assert query_or_reason(commit("Regenerate parser tables for grammar"))[1] is None
    by_bot = commit("Regenerate parser tables for grammar", author="renovate[bot] <r@example.org>")
    assert query_or_reason(by_bot)[1] == "commit: by a bot"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("Let JsonReader skip comments", True),
        ("See JsonReader.java", True),
        ("Let jsonreader skip comments", False),
        ("Let MyJsonReader skip comments", False),
    ],
)
def test_a_file_is_named_by_its_whole_name_only(query: str, named: bool) -> None:
    assert names_one_of(query, ["src/main/JsonReader.java", "src/Other.java"]) is named
