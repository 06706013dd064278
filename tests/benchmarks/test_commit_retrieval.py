import argparse
import json
import re
import subprocess
from pathlib import Path

import pytest

from codequarry.benchmarks import commit_retrieval
from codequarry.benchmarks.commit_retrieval import (
    AGENTIC,
    AgenticSource,
    agentic_sets,
    commit_set,
    is_source,
    names_one_of,
    query_or_reason,
)
from codequarry.cli.benchmark import add_arguments, run_agentic
from codequarry.data.catalog.registry import refuse
from codequarry.data.git import Commit, open_repository
from codequarry.data.parsing.languages import BY_NAME


@pytest.mark.parametrize("source", AGENTIC, ids=lambda source: source.name)
def test_every_repository_is_pinned_and_kept_out_of_training(source: AgenticSource) -> None:
    assert re.fullmatch("[0-9a-f]{40}", source.commit)
    assert source.language in BY_NAME
    assert source.queries >= 50
    with pytest.raises(ValueError, match="never mined"):
        refuse(source.repository)


def test_no_two_sets_share_a_name() -> None:
    assert len({source.name for source in AGENTIC}) == len(AGENTIC)


@pytest.fixture
def mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of clones with one repository, which the rows are replaced by."""
    folder = tmp_path / "mirrors/someone+tools"
    folder.mkdir(parents=True)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "--quiet")
    names = ["dates", "mails", "lines", "archives"]
    for round_ in range(3):
        for name in names:
            text = f"def parse_{name}(values):\n    found = list(values)\n    return found[{round_}:]\n"
            (folder / f"{name}.py").write_text(text)
            git("add", "--all")
            git("commit", "--quiet", "--message", f"Skip {round_} leading {name} while parsing values")
    row = AgenticSource("someone/tools", git("rev-parse", "HEAD"), "python", 8)
    monkeypatch.setattr(commit_retrieval, "AGENTIC", (row,))
    git("commit", "--quiet", "--allow-empty", "--message", "Later than the pinned one")
    return folder.parent


def test_the_pinned_commit_is_the_newest_that_is_asked_about(mirrors: Path) -> None:
    (found,) = agentic_sets(queries=100, passages=1_000, mirrors=mirrors, progress=False)
    assert found.found.name == "commits_tools"
    assert len(found.found.queries) == 8  # of eleven with a parent, three add their file
    assert found.looked_at == 11


def test_the_row_has_bm25_the_model_and_their_fusion_and_is_kept(
    mirrors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(["--mirrors", str(mirrors)])
    arguments.models, arguments.out = ["all-MiniLM-L6-v2"], tmp_path / "out"
    arguments.cache, arguments.compute = tmp_path / "cache", "fp32"
    run_agentic(arguments)
    record = json.loads((tmp_path / "out/agentic__all-MiniLM-L6-v2.json").read_text())
    assert [row["model"] for row in record["rows"]] == [
        "BM25", "BM25, plain words", "all-MiniLM-L6-v2", "all-MiniLM-L6-v2 + BM25",
    ]  # fmt: skip
    assert {row["set"] for row in record["rows"]} == {"commits_tools"}
    assert "commits_tools: 8 commits" in capsys.readouterr().out
    assert list((tmp_path / "out").glob("*/*/commits_tools.json"))  # MTEB's own tree


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)
    return done.stdout.decode().strip()


def change(folder: Path, subject: str, **files: str) -> str:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", subject)
    return git(folder, "rev-parse", "HEAD")


def function(name: str, body: str) -> str:
    return f"def {name}(value):\n    result = {body}\n    return result\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    change(
        folder, "Begin",
        dates__py=function("parse_date", "value"), mail__py=function("send_mail", "value"),
        lines__py=function("draw_line", "value"), README__md="Read me", ci__yaml="on: push",
    )  # fmt: skip
    change(folder, "Parse dates with a time zone behind them (#3)", dates__py=function("parse_date", "zone"))
    change(folder, "Send mails through an encrypted socket", mail__py=function("send_mail", "socket"))
    change(folder, "Add a module that compresses archives", zip__py=function("compress", "value"))
    change(folder, "Describe how the project is installed", README__md="Install me", ci__yaml="on: pull")
    change(
        folder, "Round coordinates and dates to whole seconds",
        lines__py=function("draw_line", "round(value)"), dates__py=function("parse_date", "round(zone)"),
    )  # fmt: skip
    return folder


def test_a_commit_is_searched_in_the_files_of_its_parent(checkout: Path) -> None:
    found = commit_set(open_repository(str(checkout)), "c", holdout=1).found
    assert list(found.queries.values()) == [
        "Round coordinates and dates to whole seconds",
        "Send mails through an encrypted socket",
        "Parse dates with a time zone behind them",
    ]
    for query, documents in found.candidates.items():
        paths = [document.partition("@")[0] for document in documents]
        listed = git(checkout, "ls-tree", "-r", "--name-only", f"{query}^").split("\n")
        assert paths == [path for path in listed if path.endswith(".py")]
        for document in documents:
            path, blob = document.split("@")
            assert git(checkout, "rev-parse", f"{query}^:{path}").startswith(blob)
            assert git(checkout, "show", f"{query}^:{path}") in found.documents[document]
        changed = git(checkout, "diff", "--name-only", f"{query}^", query).split("\n")
        assert sorted(document.partition("@")[0] for document in found.relevant[query]) == changed
        assert found.relevant[query].keys() <= set(documents)


def test_equal_versions_are_one_document_and_every_document_has_its_passages(checkout: Path) -> None:
    made = commit_set(open_repository(str(checkout)), "c", holdout=1)
    # dates.py had two versions before a commit, mail.py two, lines.py and zip.py one.
    assert sorted(document.partition("@")[0] for document in made.found.documents) == [
        "dates.py", "dates.py", "lines.py", "mail.py", "mail.py", "zip.py",
    ]  # fmt: skip
    assert made.passages.keys() == made.found.documents.keys()
    for document, passages in made.passages.items():
        assert all(passage.startswith(document.partition("@")[0] + "\n") for passage in passages)


def test_what_a_commit_adds_is_no_answer_and_every_other_commit_is_counted(checkout: Path) -> None:
    made = commit_set(open_repository(str(checkout)), "c", holdout=1)
    assert made.left_out == {"commit: modifies no source file": 2}
    assert made.looked_at == len(made.found.queries) + 2


def test_only_the_newest_share_is_asked_and_never_more_than_wanted(checkout: Path) -> None:
    repository = open_repository(str(checkout))
    newest = "Round coordinates and dates to whole seconds"
    assert list(commit_set(repository, "c").found.queries.values()) == [newest]
    assert list(commit_set(repository, "c", holdout=1, queries=1).found.queries.values()) == [newest]


def test_a_cap_keeps_the_answers_and_drops_other_files(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codequarry.benchmarks.commit_retrieval._PATHS_AT_ONCE", 1)
    made = commit_set(open_repository(str(checkout)), "c", holdout=1, queries=1, passages=1)
    assert (made.files_kept, made.files) == (2, 4)
    (answers,) = made.found.relevant.values()
    assert answers.keys() == made.found.documents.keys()


def test_the_same_repository_gives_the_same_set(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(checkout), "bare")
    one, other = (commit_set(open_repository(str(folder)), "c") for folder in (checkout, tmp_path / "bare"))
    assert one == other


def test_no_history_and_no_commit_that_can_be_asked_about_are_sentences(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    change(tmp_path, "Begin", a__py="x = 1")
    with pytest.raises(ValueError, match="has no history"):
        commit_set(open_repository(str(tmp_path)), "c")
    change(tmp_path, "Describe how the project is installed", b__md="text")
    with pytest.raises(ValueError, match=r"1 were looked at: commit: modifies no source file \(1\)"):
        commit_set(open_repository(str(tmp_path)), "c")


@pytest.mark.parametrize(
    ("path", "yes"),
    [("src/a.py", True), ("web/a.tsx", True), ("README.md", False), (".github/ci.yaml", False),
     ("Makefile", False), ("vendor/x/a.go", False), ("a.min.js", False), ("logo.png", False)],
)  # fmt: skip
def test_only_code_written_here_is_searched(path: str, yes: bool) -> None:
    assert is_source(path) is yes


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
