import os
import random
import shutil
import subprocess
import time

import pytest

from codequarry.data.parsing.ignore_rules import MAX_BYTES, MAX_WILDCARDS, Rules
from codequarry.data.parsing.source_files import list_sources
from codequarry.data.parsing.source_report import SourceReport

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is the oracle here and is not installed")

NAMES = ["a", "b", "src", "out", "keep", "ab", "a.b", "[x]", "é"]
PARTS = [
    "*", "**", "***", "?", "a", "b", "src", "out", "keep", "[ab]", "[!a]", "[^]]", "[]a]", "[a-c]*",
    "[z-a]", "[a-", "[", "*.py", "**.py", "a*", "*b", "a*b*", "a**", "s?c", "\\a", "a\\", "a\\/",
    "[[:alpha:]]", "*[!b].py", "é", "??",
]  # fmt: skip
WHITELISTS = [
    ["*", "!*/", "!*.py"],
    ["**", "!**/", "!**/*.py"],
    ["/*", "!/src", "/src/*", "!/src/a*"],
    ["out/", "!out/keep.py"],
    ["*", "!*.*", "!*/"],
]


def random_rule(draw):
    rule = "/".join(draw.choice(PARTS) for _ in range(draw.randint(1, 3)))
    for chance, change in (
        (0.3, lambda rule: f"/{rule}"),
        (0.3, lambda rule: f"{rule}/"),
        (0.35, lambda rule: f"!{rule}"),
        (0.05, lambda rule: f"{rule} "),
        (0.05, lambda rule: f"{rule}\\ "),
        (0.05, lambda rule: f"{rule}\r"),
        (0.03, lambda rule: f"{rule}\x0cb"),
        (0.02, lambda rule: f"#{rule}"),
    ):
        if draw.random() < chance:
            rule = change(rule)
    return rule


def python_files(listed):
    return sorted(path for path in listed if path.endswith(".py"))


def git_lists(root):
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    git = ["git", "-C", str(root)]
    subprocess.run([*git, "init", "-q"], check=True, env=environment)
    command = [*git, "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, check=True, env=environment, capture_output=True)
    return python_files(os.fsdecode(listed.stdout).split("\0"))


def grow(root, draw, rules):
    for _ in range(25):
        folder = root.joinpath(*(draw.choice(NAMES) for _ in range(draw.randint(0, 3))))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{draw.choice(NAMES)}.py").write_text("x = 1")
    (root / ".gitignore").write_text("\n".join(rules) + "\n", newline="")
    folders = [folder for folder in root.rglob("*") if folder.is_dir()]
    if folders and draw.random() < 0.5:
        inner = [random_rule(draw) for _ in range(draw.randint(1, 3))]
        (draw.choice(folders) / ".gitignore").write_text("\n".join(inner) + "\n", newline="")


@needs_git
@pytest.mark.parametrize(
    "seed", [*range(24), *(pytest.param(n, marks=pytest.mark.exhaustive) for n in range(24, 400))]
)
def test_random_rules_mean_what_git_takes_them_to_mean(tmp_path, seed):
    draw = random.Random(seed)
    rules = (
        WHITELISTS[seed] if seed < len(WHITELISTS) else [random_rule(draw) for _ in range(draw.randint(1, 5))]
    )
    grow(tmp_path, draw, rules)
    ours = python_files(list_sources(tmp_path, SourceReport()))  # there is no `.git` yet
    expected = git_lists(tmp_path)
    assert ours == expected, rules
    assert python_files(list_sources(tmp_path, SourceReport())) == expected


@needs_git
@pytest.mark.parametrize(
    "written",
    [
        b"\xef\xbb\xbfskip/\n",
        b"skip/\r\n*.tmp.py\r\n",
        b"skip \n",
        b"caf\xe9/\nskip/\n",
        b"!\n\\\nskip/\n[\n",
        b"skip/",
    ],
    ids=["byte order mark", "carriage returns", "blank", "not UTF-8", "invalid rules", "no last line end"],
)
def test_a_file_of_rules_is_read_as_git_reads_it(tmp_path, written):
    (tmp_path / "skip").mkdir()
    for name in ("skip/a.py", "b.tmp.py", "c.py"):
        (tmp_path / name).write_text("x = 1")
    (tmp_path / ".gitignore").write_bytes(written)
    ours = python_files(list_sources(tmp_path, SourceReport()))
    assert ours == git_lists(tmp_path)


def test_rules_that_are_a_link_a_pipe_or_a_folder_are_not_opened(tmp_path):
    for name in ("link", "device", "pipe", "folder"):
        (tmp_path / name / "skip").mkdir(parents=True)
        (tmp_path / name / "skip/a.py").write_text("x = 1")
    (tmp_path / "rules").write_text("skip/\n")
    (tmp_path / "link/.gitignore").symlink_to(tmp_path / "rules")
    (tmp_path / "device/.gitignore").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe/.gitignore")
    (tmp_path / "folder/.gitignore").mkdir()
    (tmp_path / "folder/.gitignore/b.py").write_text("x = 1")
    found = list_sources(tmp_path, SourceReport())
    assert found == [
        "device/skip/a.py", "folder/.gitignore/b.py", "folder/skip/a.py", "link/skip/a.py",
        "pipe/skip/a.py", "rules",
    ]  # fmt: skip


HARD = {
    "stars in a name": ("*a" * 14 + "*b", "a" * 120 + ".py"),
    "many stars": ("*a" * 900 + "*b", "a" * 250),
    "folders at any depth": ("**/" + "a/**/" * 12 + "zz.py", "a/" * 60 + "f.py"),
    "many of them": ("**/" + "a/**/" * 300 + "zz.py", "a/" * 2000 + "f.py"),
    "stars at any depth": ("**/" + "*a*b*c*/**/" * 150 + "zz.py", ("abab" * 20 + "/") * 40 + "f.py"),
    "one long tail": ("**/" + "a/" * 600 + "zz.py", "a/" * 2000 + "f.py"),
    "brackets": ("[a-z]*" * 300 + "B", "a" * 250),
    "question marks": ("?" * 1900 + "*", "a" * 255),
}


@pytest.mark.parametrize("case", HARD)
def test_no_rule_takes_long_to_match(case):
    rule, path = HARD[case]
    started = time.perf_counter()
    assert Rules.from_lines([rule]).verdict(path, False) is None
    assert time.perf_counter() - started < 2


def test_too_many_rules_are_counted_and_the_names_among_them_still_count(tmp_path):
    (tmp_path / ".gitignore").write_text("*a*b*\n" * (MAX_WILDCARDS + 5) + "skip.py\n" + "*.log\n")
    (tmp_path / "skip.py").write_text("x = 1")
    (tmp_path / "a.py").write_text("x = 1")
    report = SourceReport()
    assert list_sources(tmp_path, report) == ["a.py"]
    assert (".gitignore", "rules too many or too long", "5 rules") in report.left_out


def test_an_endless_file_of_rules_is_read_to_its_bound(tmp_path):
    (tmp_path / ".gitignore").write_text("skip.py\n" + "# words\n" * (MAX_BYTES // 8))
    assert Rules.from_file(tmp_path / ".gitignore").left_out == 1


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("dist/", ["dist/a.js", "x/dist/b/c.js"], ["dist", "distant/a.js"]),
        ("/dist/", ["dist/a.js"], ["x/dist/a.js"]),
        ("*.min.js", ["a.min.js", "b/c.min.js"], ["a.js"]),
        ("docs/*.txt", ["docs/a.txt"], ["docs/a/b.txt", "x/docs/a.txt"]),
    ],
)
def test_a_pattern_covers_what_lies_below_a_folder_it_matches(pattern, covered, not_covered):
    rules = Rules.from_lines([pattern])
    assert all(rules.covers(path) for path in covered)
    assert not any(rules.covers(path) for path in not_covered)
