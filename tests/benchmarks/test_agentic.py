import argparse
import json
import re
import subprocess
from pathlib import Path

import pytest

from codequarry.benchmarks import agentic
from codequarry.benchmarks.agentic import AGENTIC, AgenticSource, agentic_sets, run
from codequarry.benchmarks.own_repository import add_arguments
from codequarry.data.languages import BY_NAME
from codequarry.data.sources.never_mined import refuse


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
    monkeypatch.setattr(agentic, "AGENTIC", (row,))
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
    run(arguments)
    record = json.loads((tmp_path / "out/agentic__all-MiniLM-L6-v2.json").read_text())
    assert [row["model"] for row in record["rows"]] == [
        "BM25", "BM25, plain words", "all-MiniLM-L6-v2", "all-MiniLM-L6-v2 + BM25",
    ]  # fmt: skip
    assert {row["set"] for row in record["rows"]} == {"commits_tools"}
    assert "commits_tools: 8 commits" in capsys.readouterr().out
    assert list((tmp_path / "out").glob("*/*/commits_tools.json"))  # MTEB's own tree
