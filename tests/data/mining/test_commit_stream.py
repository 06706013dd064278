from collections import Counter

import pytest

from codequarry.data.git_repository import open_repository
from codequarry.data.mining.commit_diffs import NOT_HERE, pairs_of_commits

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
    monkeypatch.setattr("codequarry.data.mining.commit_stream._GIVE_UP", 1)
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
