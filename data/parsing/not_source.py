"""Names that say that a file is not source, or was written by a tool."""

import re
import tomllib
from pathlib import Path, PurePosixPath

from codequarry.data.parsing.languages import language_of

# Folders that package managers fill, whoever tracks them.
INSTALLED = frozenset(
    {"node_modules", "bower_components", "site-packages", "dist-packages", ".venv", ".tox", ".nox", ".eggs"}
)
_VENDORED = frozenset(INSTALLED | {"vendor", "third_party", "thirdparty", "third-party", "venv"})
_BUILT = frozenset({"dist", "build"})
_MINIFIED = re.compile(r"[.-]min\.(js|mjs|cjs|css)$")
_GENERATED = re.compile(
    r"(_pb2(_grpc)?\.pyi?|\.pb(\.gw)?\.(go|cc|h)|_pb\.(js|rb|d\.ts)|\.g(\.i)?\.cs|\.designer\.cs"
    r"|\.generated\.\w+|^zz_generated[\w.]*)$",
    re.IGNORECASE,
)
# In a list of changed paths the name is all there is: a file that is probably a tool's counts as a tool's.
_PROBABLY_MINIFIED = re.compile(r"[.-](min|bundle)\.\w+$")
_PROBABLY_GENERATED = re.compile(r"([._-]generated\.\w+|_gen\.go|_string\.go)$", re.IGNORECASE)


def _read_names(file: Path) -> tuple[dict[str, str], dict[str, str]]:
    endings: dict[str, str] = {}
    names: dict[str, str] = {}
    for reason, row in tomllib.loads(file.read_text(encoding="utf-8")).items():
        endings |= dict.fromkeys(row["extensions"], reason)
        names |= dict.fromkeys(row.get("filenames", ()), reason)
    return endings, names


# Why a file is not read, by its ending and by its whole name.
ENDINGS, NAMES = _read_names(Path(__file__).with_name("not_source.toml"))


def reason_against_name(name: str) -> str | None:
    """Why a file of this name, without folders, is not worth opening; None when it may be."""
    if reason := NAMES.get(name):
        return reason
    ending = PurePosixPath(name).suffix
    if reason := ENDINGS.get(ending) or ENDINGS.get(ending.lower()):
        return reason
    if name.startswith(".env"):
        return "data"
    if _MINIFIED.search(name):
        return "minified"
    return "generated" if _GENERATED.search(name) else None


def reason_against_path(path: str) -> str | None:
    """Why a file that only a name is known of, as in a diff, is not worth reading; None when it may be.

    Stricter than for files on disk: what a commit changes in a vendored copy is not what its message says.
    """
    *folders, name = path.split("/")
    if not _VENDORED.isdisjoint(folders):
        return "vendored"
    if not _BUILT.isdisjoint(folders):
        return "build output"
    if language_of(name) is None:
        return "unknown kind"
    if _PROBABLY_MINIFIED.search(name):
        return "minified"
    return "generated" if _PROBABLY_GENERATED.search(name) else reason_against_name(name)
