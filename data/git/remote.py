"""Repositories that are brought from a host once, and kept in the user's cache."""

import re
from collections.abc import Sequence
from pathlib import Path

from codequarry.common.files import atomic_path, cache_folder
from codequarry.data.git.address import HOST, Address
from codequarry.data.git.folder import check_objects, find_git_folder
from codequarry.data.git.process import GitError, MissingGitError, git_version, remote_environment, run
from codequarry.data.git.view import GitView


def bring(address: Address, commit: str | None, *, history: bool) -> Path:
    """The bare clone of an address in the cache; what is there already is not asked for again.

    Arguments as in `open_repository`. Raises GitError when the host does not answer or has no such commit.
    """
    cache = cache_folder("git").absolute()
    cache.mkdir(parents=True, exist_ok=True)
    label = re.sub(r"[^\w.+-]", "_", cache_label(address.name))
    if history or commit is None:
        return _cloned(address, cache / f"{label}.git", commit)
    return _one_commit(address, cache / f"{label}@{commit[:12]}.git", commit)


def cache_label(name: str) -> str:
    """The name of an address as that of a folder: `owner+name` on GitHub."""
    return name.removeprefix(HOST).removesuffix(".git").strip("/").replace("/", "+")


def _cloned(address: Address, folder: Path, commit: str | None) -> Path:
    if not folder.exists():
        with atomic_path(folder) as temporary:
            _ask(address, ["clone", "--bare", "--quiet", "--template="], [str(temporary)])
        return folder
    if re.search(rb"://[^/\s]*@", (folder / "config").read_bytes()):  # as earlier versions left it
        _own([f"--git-dir={folder}", "config", "--remove-section", "remote.origin"])
    if commit is None or not _has(folder, commit):
        _ask(address, [f"--git-dir={folder}", "fetch", "--quiet", "--force"], ["+HEAD:HEAD"])
    return folder


def _one_commit(address: Address, folder: Path, commit: str) -> Path:
    if not folder.exists():
        with atomic_path(folder) as temporary:
            sha256 = ["--object-format=sha256"] if len(commit) == 64 else []
            _own(["init", "--bare", "--quiet", "--template=", *sha256, str(temporary)])
            _ask(address, [f"--git-dir={temporary}", "fetch", "--quiet", "--depth=1"], [commit])
            _own([f"--git-dir={temporary}", "update-ref", "--no-deref", "HEAD", commit])
    return folder


def _has(git_dir: Path, commit: str) -> bool:
    try:
        _own([f"--git-dir={git_dir}", "cat-file", "-e", f"{commit}^{{commit}}"])
    except GitError:
        return False
    return True


def _own(arguments: Sequence[str]) -> None:
    """Run git on a clone of the cache."""
    try:
        run(arguments, remote_environment(), cache_folder("git"))
    except MissingGitError:
        raise
    except GitError as error:
        raise GitError(f"git could not write to {cache_folder('git')}: {error}.") from None


def _ask(address: Address, before: Sequence[str], after: Sequence[str]) -> None:
    """Run git with the address between the arguments.

    Credentials travel in variables, so that neither git's configuration nor the list of processes has them;
    no helper of the user then stores them.
    """
    environment = remote_environment()
    view, url, hint = None, address.url, ""
    if address.secret_url:
        if git_version() < (2, 31):
            raise GitError(
                f"An address with credentials needs git 2.31 or newer: pass {address.url}, and store them "
                "with `git credential`."
            )
        environment |= _settings(
            (f"url.{address.secret_url}.insteadOf", address.url), ("credential.helper", "")
        )
    if (path := address.path) is not None:
        # A folder is a stranger's as much as a host is, but in it git would obey its configuration.
        folder = find_git_folder(path) if path.is_dir() else None
        if folder is None:
            raise GitError(f"git could not read {address.name}: there is no repository at {path}.")
        check_objects(folder)
        view = GitView(folder, references=True)
        url, hint = view.path.as_uri(), f" Pass the folder {path} itself to read what is there."
    try:
        run([*before, "--", url, *after], environment, cache_folder("git"))
    except MissingGitError:
        raise
    except GitError as error:
        said = address.without_secrets(str(error))
        raise GitError(f"git could not read {address.name}: {said}.{hint}") from None
    finally:
        if view is not None:
            view.close()


def _settings(*rows: tuple[str, str]) -> dict[str, str]:
    """Settings as variables, which git knows since 2.31."""
    found = {"GIT_CONFIG_COUNT": str(len(rows))}
    for number, (name, value) in enumerate(rows):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return found
