import os
import shutil
import subprocess
from collections import Counter

import pytest

from codequarry.data.parsing.generated import MAX_LINE
from codequarry.data.parsing.languages import LANGUAGES
from codequarry.data.parsing.not_source import ENDINGS, NAMES
from codequarry.data.parsing.source_files import list_sources, read_text
from codequarry.data.parsing.source_report import (
    Choice,
    LeftOut,
    SourceReport,
    listing,
    passing_over,
    summary_line,
)

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is the oracle here and is not installed")


def git(folder, *words):
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path):
    def grow(files):
        for path, content in files.items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return grow


IGNORED = {
    ".gitignore": "*.log.py\n/only_here.py\ncache/\n!cache/kept.py\nkeep_*.py\ndeep/**/x.py\n\\#odd.py\n",
    "a.log.py": "1",
    "only_here.py": "1",
    "sub/only_here.py": "1",
    "cache/kept.py": "1",
    "sub/.gitignore": "!keep_me.py\n*.txt\n",
    "sub/keep_me.py": "1",
    "sub/keep_not.py": "1",
    "sub/a.txt": "1",
    "a.txt": "1",
    "deep/one/two/x.py": "1",
    "deep/y.py": "1",
    "#odd.py": "1",
    "ü/é.py": "1",
}


@needs_git
def test_gitignore_means_what_git_takes_it_to_mean(tree):
    root = tree(IGNORED)
    git = ["git", "-c", "core.quotepath=off", "-C", str(root)]
    subprocess.run([*git, "init", "-q"], check=True)
    listed = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    )
    expected = sorted(path for path in listed.stdout.splitlines() if not path.endswith(".gitignore"))
    report = SourceReport()
    assert list_sources(root, report) == expected
    assert report.skipped["ignored by .gitignore"] > 0
    shutil.rmtree(root / ".git")
    assert list_sources(root, SourceReport()) == expected


LEFT_OUT = {
    "node_modules/": "vendored",
    "web/bower_components/": "vendored",
    "go/vendor/": "vendored",
    "env/": "vendored",
    "web/dist/": "build output",
    "rust/target/": "build output",
    "jquery.min.js": "minified",
    "a_pb2.py": "generated",
    "picture.png": "picture, archive or program",
    "table.csv": "data",
    "words.txt": "data",
    ".gitattributes": "data",
    "Cargo.lock": "lock file",
    "package-lock.json": "lock file",
    "empty.py": "empty",
    "dump.sql": "too large",
}


def test_what_tools_put_there_is_left_out_counted_and_named(tree):
    root = tree(
        {
            "a.py": "x = 1",
            ".git/hook.py": "x = 1",
            "__pycache__/b.py": "x = 1",
            "node_modules/a/b.js": "1",
            "web/package.json": "{}",
            "web/bower_components/b.js": "1",
            "web/dist/b.js": "1",
            "go/go.mod": "module a",
            "go/vendor/b.go": "package b",
            "rust/Cargo.toml": "[package]",
            "rust/target/b.rs": "fn b() {}",
            "env/pyvenv.cfg": "home = /usr",
            "env/lib/b.py": "x = 1",
            "jquery.min.js": "1",
            "a_pb2.py": "1",
            "picture.png": "1",
            "table.csv": "1",
            "words.txt": "word\n" * 50_000,
            ".gitattributes": "* text",
            "Cargo.lock": "1",
            "package-lock.json": "1",
            "empty.py": "",
            "dump.sql": "x" * 1_000_001,
        }
    )
    report = SourceReport()
    assert list_sources(root, report) == ["a.py", "go/go.mod", "rust/Cargo.toml"]
    named = {one.path: one.reason for one in report.left_out}
    assert named == LEFT_OUT | {"web/package.json": "data"}
    assert report.skipped == Counter(named.values())


SOURCE = [
    "src/build/a.py", "tools/dist/a.py", "lib/vendor/a.go", "third_party/a.c", "Lib/venv/__init__.py",
    "target/a.rs", "query_string.go", "id_gen.go", "is_generated.py", "asset-bundle.js", "Makefile",
    "scripts/deploy", "a.unknown",
]  # fmt: skip


def test_a_folder_or_file_is_not_left_out_for_a_name_that_source_may_have(tree):
    root = tree(dict.fromkeys(SOURCE, "def f(): return 1\n"))
    report = SourceReport()
    assert list_sources(root, report) == sorted(SOURCE)
    assert not report.left_out


@needs_git
def test_what_git_tracks_is_source_whatever_its_folder_and_its_rules_say(tree):
    files = {
        ".gitignore": "build/\n*.gen.py\n/vendor\nlocal/\n",
        "package.json": "{}", "go.mod": "module a",
        "build/a.py": "x = 1", "dist/a.py": "x = 1", "vendor/a.go": "package a", "b.gen.py": "x = 1",
        "node_modules/a.js": "x = 1", "a.min.js": "x = 1", "yarn.lock": "x",
    }  # fmt: skip
    root = tree(files)
    git(root, "init", "-q")
    git(root, "add", "-f", ".")
    tree({"build/local.py": "x = 1", "c.gen.py": "x = 1", "new.py": "x = 1", "local/d.py": "x = 1"})
    report = SourceReport()
    assert list_sources(root, report) == [
        "b.gen.py", "build/a.py", "dist/a.py", "go.mod", "new.py", "vendor/a.go",
    ]  # fmt: skip
    assert {one.path: one.reason for one in report.left_out} == {
        ".gitignore": "data", "package.json": "data", "yarn.lock": "lock file", "a.min.js": "minified",
        "node_modules/": "vendored", "build/local.py": "ignored by .gitignore",
        "c.gen.py": "ignored by .gitignore", "local/": "ignored by .gitignore",
    }  # fmt: skip


@needs_git
def test_rules_above_the_folder_and_those_of_no_file_count_in_a_checkout(tree):
    root = tree({".gitignore": "src/made/\n", "src/made/a.py": "1", "src/b.py": "1", "src/own/c.py": "1"})
    git(root, "init", "-q")
    (root / ".git/info").mkdir(exist_ok=True)
    (root / ".git/info/exclude").write_text("own/\n")
    assert list_sources(root / "src", SourceReport()) == ["b.py"]
    # Who asks for an ignored folder wants to see it.
    assert list_sources(root / "src/made", SourceReport()) == ["a.py"]


def test_the_same_rules_count_where_git_cannot_be_asked(tree, monkeypatch):
    root = tree({".gitignore": "src/made/\n", "src/made/a.py": "1", "src/b.py": "1", "src/own/c.py": "1"})
    tree({".git/info/exclude": "own/\n"})
    monkeypatch.setattr("codequarry.data.parsing.source_files.checkout_files", lambda folder, seconds: None)
    assert list_sources(root / "src", SourceReport()) == ["b.py"]
    assert list_sources(root / "src/made", SourceReport()) == ["a.py"]


@needs_git
def test_our_own_rules_decide_where_git_does_not_answer(tree, monkeypatch):
    root = tree({".gitignore": "made/\n", "made/a.py": "1", "b.py": "1", "deep/c.py": "1"})
    git(root, "init", "-q")
    os.mkfifo(root / "deep/.gitignore")  # git waits for somebody to write to it
    monkeypatch.setattr("codequarry.data.parsing.source_files._GIT_SECONDS", 0.5)
    assert list_sources(root, SourceReport()) == ["b.py", "deep/c.py"]


@needs_git
def test_a_repository_inside_has_its_own_rules_only(tree):
    root = tree(
        {".gitignore": "*.gen.py\n", "child/a.gen.py": "1", "child/.gitignore": "b.py\n", "child/b.py": "1"}
    )
    tree({"plain/work/c.py": "1", "plain/work/.gitignore": "d.py\n", "plain/work/d.py": "1"})
    for folder in (root, root / "child", root / "plain/work"):
        git(folder, "init", "-q")
    assert list_sources(root, SourceReport()) == ["child/a.gen.py", "plain/work/c.py"]
    assert list_sources(root / "plain", SourceReport()) == ["work/c.py"]


def test_special_files_are_named_and_never_opened(tree):
    root = tree({"a.py": "x = 1"})
    os.mkfifo(root / "pipe.py")
    report = SourceReport()
    assert list_sources(root, report) == ["a.py"]
    assert report.left_out == [("pipe.py", "not a file", "")]
    assert read_text(root, "pipe.py", report) is None
    if shutil.which("git"):  # git lists no special files, which are not ignored for that
        git(root, "init", "-q")
        assert list_sources(root, listed := SourceReport()) == ["a.py"]
        assert listed.left_out == [("pipe.py", "not a file", "")]
    (root / "zero.py").symlink_to("/dev/zero")
    assert read_text(root, "zero.py", report) is None
    assert report.skipped["unreadable"] == 2


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], ["a.py", "src/b.py"]),
        ([], ["src/"], ["a.py"]),
        ([], ["*.py", "!a.py"], ["a.py"]),
        (["*.min.js"], [], ["a.min.js", "a.py", "src/b.py"]),
        (["node_modules/"], [], ["a.py", "node_modules/x/c.js", "node_modules/y/d.js", "src/b.py"]),
        (["node_modules/x/*.js"], [], ["a.py", "node_modules/x/c.js", "src/b.py"]),
        (["node_modules/**"], ["y"], ["a.py", "node_modules/x/c.js", "src/b.py"]),
        (["./made/"], ["./src/b.py"], ["a.py", "made/e.py"]),
        (["made/*.py"], ["src"], ["a.py", "made/e.py"]),
        (["**/*.json"], [], ["a.py", "data.json", "src/b.py"]),
    ],
)
@pytest.mark.parametrize("in_git", [False, pytest.param(True, marks=needs_git)])
def test_the_user_s_patterns_override_what_is_left_out(tree, include, exclude, expected, in_git):
    names = [
        "a.py",
        "src/b.py",
        "a.min.js",
        "node_modules/x/c.js",
        "node_modules/y/d.js",
        "made/e.py",
        "data.json",
    ]
    root = tree(dict.fromkeys(names, "x = 1") | {".gitignore": "made/\nnode_modules/\n"})
    if in_git:
        git(root, "init", "-q")
    report = SourceReport()
    choice = Choice(tuple(include), tuple(exclude))
    found = list_sources(root, report, choice)
    assert found == expected
    assert all(read_text(root, path, report, choice) for path in found)


def test_a_file_that_the_user_names_is_read_although_it_is_generated_and_long(tree):
    made = "// Code generated by us. DO NOT EDIT.\n" + "x = f(1);" * 10_000
    root = tree({"a.js": made})
    report = SourceReport()
    assert read_text(root, "a.js", report) is None
    assert read_text(root, "a.js", report, Choice(include=("*.js",))) == made


def test_a_root_inside_site_packages_is_read(tree):
    root = tree({"venv/lib/site-packages/pkg/a.py": "x = 1"})
    assert list_sources(root / "venv/lib/site-packages/pkg", SourceReport()) == ["a.py"]


def test_a_symbolic_link_is_not_followed_out_of_the_root_nor_in_circles(tree, tmp_path):
    root = tree({"root/a.py": "x = 1", "outside/secret.py": "x = 1"}) / "root"
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "secret.py").symlink_to(tmp_path / "outside" / "secret.py")
    (root / "dangling.py").symlink_to(tmp_path / "absent")
    report = SourceReport()
    assert list_sources(root, report) == ["a.py"]
    # A link into the tree loses nothing; one out of it may.
    assert report.skipped == {"symbolic link": 2, "symbolic link out of the folder": 2}


BAD_TEXTS = {
    "binary": bytes(range(256)) * 4,
    "generated": b"// Licence\n// Generated file. DO NOT EDIT.\nx = 1\n",
    "minified": b"var a=1;" * MAX_LINE,
    "too large": b"x = 1\n" * 1_000_000,
    "empty": b" \n\n",
}


@pytest.mark.parametrize("reason", BAD_TEXTS)
def test_a_text_that_is_of_no_use_is_counted_with_its_reason(tree, reason):
    root = tree({"a.js": BAD_TEXTS[reason]})
    report = SourceReport()
    assert read_text(root, "a.js", report) is None
    assert report.skipped == {reason: 1}


def test_code_that_only_speaks_of_generated_code_is_not_generated(tree):
    root = tree({"a.py": 'HEADER = "# Code generated by us. DO NOT EDIT."\n'})
    assert read_text(root, "a.py", SourceReport())


def test_a_long_paragraph_is_prose_and_not_minified(tree):
    root = tree({"a.md": "word " * MAX_LINE})
    assert read_text(root, "a.md", SourceReport())


def test_a_file_that_vanished_is_unreadable(tmp_path):
    report = SourceReport()
    assert read_text(tmp_path, "gone.py", report) is None
    assert report.skipped == {"unreadable": 1}


def test_a_folder_without_permission_is_counted(tree, monkeypatch):
    root = tree({"a.py": "x = 1", "closed/b.py": "x = 1"})
    scan = os.scandir

    def guarded(path):
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(path)
        return scan(path)

    # The tests may run as root, whom no permission stops.
    monkeypatch.setattr(os, "scandir", guarded)
    report = SourceReport()
    assert list_sources(root, report) == ["a.py"]
    assert report.skipped == {"unreadable": 1}


def test_a_name_that_is_not_unicode_is_counted(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"\xff.py")).write_text("x = 1")
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    report = SourceReport()
    assert list_sources(tmp_path, report) == []
    assert report.left_out == [("\\xff.py", "unreadable", "its name is not Unicode")]


@pytest.mark.parametrize(("name", "said"), [("a.py", "is a file"), ("absent", "is not there")])
def test_a_root_that_is_no_folder_is_refused(tree, name, said):
    root = tree({"a.py": "x = 1"})
    with pytest.raises(ValueError, match=said):
        list_sources(root / name, SourceReport())


def test_no_ending_of_a_language_says_that_a_file_is_no_source():
    endings = {ending for language in LANGUAGES for ending in language.extensions}
    names = {name for language in LANGUAGES for name in language.filenames}
    assert not endings & set(ENDINGS)
    assert not names & set(NAMES)


def test_one_line_says_what_was_left_out_where_it_may_surprise():
    binary = LeftOut("a.py", "binary")
    picture = LeftOut("a.png", "picture, archive or program")
    assert summary_line([picture, LeftOut("old.py", "does not parse")]) == ""
    line = summary_line(
        [
            picture,
            binary,
            LeftOut("b.js", "minified"),
            LeftOut("c.js", "minified"),
            LeftOut("web/dist/", "build output"),
        ]
    )
    assert line.startswith("left out 4 files and 1 folder: 2 minified, 1 binary, 1 build output, 1 picture")


def test_the_list_shows_what_would_steer_a_terminal():
    assert listing([LeftOut("\x1b[31mred\n.py", "binary", "said \x07")]) == [
        "\\x1b[31mred\\x0a.py\tbinary (said \\x07)"
    ]


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError("deep"), MemoryError(), OSError("disk")])
def test_whatever_fails_on_one_file_is_counted_and_passed_over(error):
    report = SourceReport()
    report.read = 3
    with passing_over("a.py", report):
        report.read += 1
        raise error
    assert report.read == 3
    assert report.left_out == [("a.py", "unreadable", f"{type(error).__name__}: {error}")]


def test_a_missing_package_is_not_passed_over():
    with pytest.raises(ImportError), passing_over("a.go", SourceReport()):
        raise ImportError("tree_sitter_go")
