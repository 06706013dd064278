"""The verb says what it would do, what it did, and passes on what was asked."""

import argparse

import pytest

from codequarry.cli import release
from codequarry.release.hub import Plan


@pytest.fixture
def asked(monkeypatch):
    """What `publish` was called with; it answers that all of it is done."""
    from codequarry.release import publish as room

    calls = []

    def publish(folder, repo_id, *, tag, really, delete_stale, verify):
        calls.append((str(folder), repo_id, tag, really, delete_stale, verify.keywords["pythons"]))
        state = "published" if really else "planned"
        plan = Plan(("config.json",), (), ("LICENSE",), ("old.bin",), 12)
        return room.Publication(repo_id, tag, state, plan, "0" * 40, None)

    monkeypatch.setattr(room, "publish", publish)
    return calls


def run(*words):
    parser = argparse.ArgumentParser()
    release.add_publish_arguments(parser)
    release.run_publish(parser.parse_args(words))


def test_without_really_it_is_a_dry_run_that_shows_every_file(asked, capsys):
    run("folder", "--repo", "org/name", "--tag", "v1")
    assert asked == [("folder", "org/name", "v1", False, False, [])]
    said = capsys.readouterr().out
    assert "new     config.json" in said
    assert "stale   old.bin" in said
    assert "Nothing was sent: this was a dry run. Stale files are refused without --delete-stale" in said


def test_with_really_it_says_how_to_load_what_was_published(asked, capsys):
    run("folder", "--repo", "org/name", "--tag", "v1", "--really", "--delete-stale")
    assert asked == [("folder", "org/name", "v1", True, True, [])]
    assert 'SentenceTransformer("org/name", revision="v1")' in capsys.readouterr().out


def test_repo_and_tag_are_asked_for(asked, capsys):
    with pytest.raises(SystemExit):
        run("folder")
    assert "--repo, --tag" in capsys.readouterr().err
    assert not asked
