"""Which files of a folder are read, and their text; everything that is left out is counted and named.

Inside a checkout git says which files there are: those it tracks, and those that no rule ignores. Elsewhere
the `.gitignore` files are read here. What is left out besides is the work of tools: packages that were
installed, output, bundles, generated and locked files, data and pictures. Nothing here is fatal, and nothing
but a regular file of bounded size is opened. Symbolic links are not followed: their target is read at its own
place, or is outside the tree.
"""

import os
import stat
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codequarry.common.errors import UserError
from codequarry.common.files import read_regular
from codequarry.data.git import checkout_files
from codequarry.data.parsing.decoding import decode
from codequarry.data.parsing.definitions import unix_lines
from codequarry.data.parsing.generated import is_generated, is_minified
from codequarry.data.parsing.ignore_rules import Rules
from codequarry.data.parsing.languages import BY_NAME, language_of, language_of_text
from codequarry.data.parsing.not_source import INSTALLED, reason_against_name, reason_against_path
from codequarry.data.parsing.source_report import EVERYTHING, Choice, SourceReport

__all__ = ["Choice", "SourceReport", "list_sources", "read_text", "reason_against_path"]

MAX_BYTES = 20_000_000  # of any file; `largest` of its language is the usual bound

_GIT_SECONDS = 15.0  # the longest answer of a large checkout on a slow disk; then our own rules decide

_ABSENT = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache",
     ".ipynb_checkpoints"}
)  # fmt: skip
# Folders that a tool fills where one of these files lies next to them, unless git tracks what they hold.
_VENDORS = {"vendor": ("go.mod", "composer.json", "Gemfile", "Cargo.toml")}
_PACKAGED = ("package.json", "pyproject.toml", "setup.py", "setup.cfg", "CMakeLists.txt", "build.gradle",
             "build.gradle.kts", "meson.build", "pubspec.yaml")  # fmt: skip
_FIRM = ("excluded", "symbolic link", "symbolic link out of the folder")  # whatever the user includes
_OUTPUTS = {"build": _PACKAGED, "dist": _PACKAGED, "target": ("Cargo.toml", "pom.xml", "build.sbt")}


def list_sources(
    root: Path, report: SourceReport, choice: Choice = EVERYTHING, *, tracked: bool = False
) -> list[str]:
    """The files below `root` worth reading: sorted relative paths with `/`, by name and size only.

    Arguments:
        choice: what else is read, or not read.
        tracked: all files are known to be tracked by git, as those of a commit are.

    The root itself is read also where it is ignored or installed, such as a package in `site-packages`.

    Raises UserError when `root` is not a folder.
    """
    if not root.is_dir():
        kind = "a file" if root.exists() else "not there"
        raise UserError(f"{root} is {kind}: pass the folder that holds the source code.")
    return sorted(_Walk(root, report, choice, tracked).files())


@dataclass(frozen=True, slots=True)
class _Rule:
    """The rules of one folder: `path` below the root is `above + path[cut:]` below that folder."""

    rules: Rules
    above: str = ""
    cut: int = 0


class _Listed:
    """What git lists, by path below the root: files and the folders above them."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self.tracked_folders: set[str] = set()

    def add(self, prefix: str, files: Iterable[str], *, tracked: bool = False) -> None:
        for file in files:
            path = _key(prefix + file)
            self.files.add(path)
            folder = path.rpartition("/")[0]
            while folder and folder not in (self.tracked_folders if tracked else self.folders):
                self.folders.add(folder)
                if tracked:
                    self.tracked_folders.add(folder)
                folder = folder.rpartition("/")[0]


class _Walk:
    """One walk through a tree: git's list or our own rules decide, folder by folder."""

    def __init__(self, root: Path, report: SourceReport, choice: Choice, tracked: bool) -> None:
        self.root, self.report, self.choice, self.tracked = root, report, choice, tracked
        self.real_root = root.resolve()
        self.found: list[str] = []

    def files(self) -> list[str]:
        # Folder, what git lists of it (None where our rules decide), those rules, and whether only what the
        # user names is taken.
        listed = None if self.tracked else self._ask_git("")
        rules = () if listed or self.tracked else _rules_above(self.root)
        self.waiting: list[tuple[str, _Listed | None, tuple[_Rule, ...], bool]] = [("", listed, rules, False)]
        while self.waiting:
            self._folder(*self.waiting.pop())
        return self.found

    def _ask_git(self, folder: str) -> _Listed | None:
        if not _may_be_checkout(self.root / folder, above=not folder):
            return None
        listed = checkout_files(self.root / folder, seconds=_GIT_SECONDS)
        if listed is None:
            return None
        found = _Listed()
        found.add(folder, listed.tracked, tracked=True)
        found.add(folder, listed.untracked)
        found.add(folder, (f"{nested}/." for nested in listed.nested))
        return found

    def _folder(
        self, folder: str, listed: _Listed | None, rules: tuple[_Rule, ...], named_only: bool
    ) -> None:
        try:
            with os.scandir(self.root / folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            self.report.skip(folder or "./", "unreadable", str(error.strerror))
            return
        names = {entry.name for entry in entries}
        if folder and ".git" in names and not self.tracked:  # a repository of its own: nothing above applies
            listed, rules = self._ask_git(folder), ()
        if listed is None and not self.tracked and ".gitignore" in names:
            rules = (*rules, *self._rules_of(folder))
        for entry in entries:
            path = f"{folder}{entry.name}"
            is_folder = False
            try:
                path.encode()
                is_folder = entry.is_dir(follow_symlinks=False)
                reason = self._reason(entry, path, is_folder, listed, rules, names)
            except UnicodeEncodeError:
                self.report.skip(path, "unreadable", "its name is not Unicode")
                continue
            except OSError as error:
                self.report.skip(path, "unreadable", str(error.strerror))
                continue
            if reason == "":
                continue
            if is_folder:
                self._enter(path, reason, listed, rules, named_only)
            elif reason is None or (reason not in _FIRM and self.choice.included.covers(path)):
                self._take(entry, path, named_only)
            elif not named_only:
                self.report.skip(path, reason)

    def _enter(
        self,
        path: str,
        reason: str | None,
        listed: _Listed | None,
        rules: tuple[_Rule, ...],
        named_only: bool,
    ) -> None:
        if reason == "excluded":
            self.report.skip(f"{path}/", reason)
        elif (reason is None and not named_only) or self.choice.included.covers(path, is_folder=True):
            self.waiting.append((f"{path}/", listed, rules, False))
        elif self.choice.on_the_way.verdict(path, True):
            self.waiting.append((f"{path}/", listed, rules, True))
        elif reason is not None:
            self.report.skip(f"{path}/", reason)

    def _take(self, entry: "os.DirEntry[str]", path: str, named_only: bool) -> None:
        included = self.choice.included.covers(path)
        if named_only and not included:
            return
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            self.report.skip(path, "unreadable", str(error.strerror))
            return
        if not stat.S_ISREG(status.st_mode):
            self.report.skip(path, "not a file")
        elif status.st_size == 0:
            self.report.skip(path, "empty")
        elif status.st_size > largest(path, included):
            self.report.skip(path, _too_large(path), f"{status.st_size:,} bytes")
        else:
            self.found.append(path)

    def _reason(
        self,
        entry: "os.DirEntry[str]",
        path: str,
        is_folder: bool,
        listed: _Listed | None,
        rules: tuple[_Rule, ...],
        names: set[str],
    ) -> str | None:
        """Why an entry is left out: a reason to count, "" to leave it uncounted, None to take it."""
        if entry.name in _ABSENT and (is_folder or entry.name == ".git"):
            return ""
        if self.choice.excluded.verdict(path, is_folder):
            return "excluded"
        if entry.is_symlink():
            return "symbolic link out of the folder" if self._leads_out(path) else "symbolic link"
        if listed is not None:
            if not is_folder and not entry.is_file(follow_symlinks=False):
                return "not a file"  # git lists no pipes, sockets and devices
            if _key(path) not in (listed.folders if is_folder else listed.files):
                return "ignored by .gitignore"
        elif _is_ignored(path, is_folder, rules):
            return "ignored by .gitignore"
        if not is_folder:
            return reason_against_name(entry.name)
        tracked = self.tracked or (listed is not None and _key(path) in listed.tracked_folders)
        return self._reason_against_folder(path, entry.name, names, tracked)

    def _leads_out(self, path: str) -> bool:
        """Whether a link leads to something that is not read at its own place."""
        target = (self.root / path).resolve()
        return target.exists() and not target.is_relative_to(self.real_root)

    def _reason_against_folder(self, path: str, name: str, names: set[str], tracked: bool) -> str | None:
        if name in INSTALLED:
            return "vendored"
        if tracked:
            return None
        if not names.isdisjoint(_VENDORS.get(name, ())):
            return "vendored"
        if not names.isdisjoint(_OUTPUTS.get(name, ())):
            return "build output"
        # A virtual environment, whatever it is called; Python's own package `venv` is none.
        return "vendored" if os.path.lexists(self.root / path / "pyvenv.cfg") else None

    def _rules_of(self, folder: str) -> tuple[_Rule, ...]:
        try:
            rules = Rules.from_file(self.root / folder / ".gitignore")
        except OSError:
            return ()  # git passes over a link too, and over what it cannot read
        if rules.left_out:
            self.report.skip(f"{folder}.gitignore", "rules too many or too long", f"{rules.left_out} rules")
        return (_Rule(rules, cut=len(folder)),)


def _key(path: str) -> str:
    """The form in which names from git and from the disk are compared."""
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)  # macOS decomposes what git composes
    return path.casefold() if sys.platform in ("win32", "darwin") else path


def _is_ignored(path: str, is_folder: bool, rules: tuple[_Rule, ...]) -> bool:
    # The deepest file with a rule for a path decides.
    for rule in reversed(rules):
        verdict = rule.rules.verdict(rule.above + path[rule.cut :], is_folder)
        if verdict is not None:
            return verdict
    return False


def _may_be_checkout(folder: Path, *, above: bool) -> bool:
    """Whether git is worth asking: there is a `.git`, and the rules it would open are files.

    A pipe called `.gitignore` would keep git waiting.
    """
    folder = folder.resolve()
    for place in (folder, *(folder.parents if above else ())):
        try:
            if not stat.S_ISREG((place / ".gitignore").lstat().st_mode):
                return False
        except OSError:
            pass
        if os.path.lexists(place / ".git"):
            return True
    return False


def _rules_above(root: Path) -> tuple[_Rule, ...]:
    """The rules of a checkout that git cannot be asked about, from its top to the folder above `root`.

    () where they ignore `root` itself: who asks for an ignored folder wants to see it.
    """
    root = root.resolve()
    top = next((place for place in (root, *root.parents) if os.path.lexists(place / ".git")), None)
    if top is None:
        return ()
    found: list[_Rule] = []
    inside = root.relative_to(top).as_posix()
    parts = [] if inside == "." else inside.split("/")
    files = [(top, top / ".git" / "info" / "exclude")]
    files += [
        (place, place / ".gitignore") for place in (top.joinpath(*parts[:n]) for n in range(len(parts)))
    ]
    for place, file in files:
        try:
            above = root.relative_to(place).as_posix()
            found.append(_Rule(Rules.from_file(file), "" if above == "." else f"{above}/"))
        except OSError:
            continue
    for depth in range(1, len(parts) + 1):
        folder = top.joinpath(*parts[:depth])
        here = [
            rule.rules.verdict(folder.relative_to(place).as_posix(), True)
            for rule, (place, _) in zip(found, files, strict=False)
            if place in folder.parents
        ]
        if next((verdict for verdict in reversed(here) if verdict is not None), False):
            return ()
    return tuple(found)


def largest(path: str, included: bool) -> int:
    """The bytes that a file may have; more where the user names it."""
    return MAX_BYTES if included else _largest(path)


def _largest(path: str) -> int:
    return (language_of(path) or BY_NAME["other"]).largest


def _too_large(path: str) -> str:
    return "data" if _largest(path) < 1_000_000 else "too large"


def read_text(root: Path, path: str, report: SourceReport, choice: Choice = EVERYTHING) -> str | None:
    """The text of one file with plain newlines, or None when it is counted in `report` and passed over."""
    included = choice.included.covers(path)
    most = largest(path, included)
    try:
        data = read_regular(root / path, most)
    except (OSError, ValueError) as error:
        report.skip(path, "unreadable", str(getattr(error, "strerror", "") or error))
        return None
    if len(data) > most:
        report.skip(path, _too_large(path), f"more than {most:,} bytes")
        return None
    language = language_of(path)
    text = decode(data, is_python=language is None or language.name == "python")
    if text is None:
        report.skip(path, "binary" if language else "picture, archive or program")
        return None
    text = unix_lines(text)
    reason = "empty" if not text.strip() else "" if included else _reason_in_text(path, text)
    if reason:
        report.skip(path, reason)
        return None
    return text


def _reason_in_text(path: str, text: str) -> str:
    language = language_of_text(path, text)
    if language.prose or language.name == "jupyter":
        return ""
    if is_generated(text):
        return "generated"
    return "minified" if is_minified(text) else ""
