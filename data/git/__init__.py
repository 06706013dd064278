"""Git repositories read without running, fetching or obeying anything of theirs."""

from codequarry.data.git.address import without_secrets
from codequarry.data.git.checkout import CheckoutFiles, checkout_files
from codequarry.data.git.folder import is_bare
from codequarry.data.git.history import Commit, Log, commits, last_changes, seconds
from codequarry.data.git.process import GitError
from codequarry.data.git.repository import GitRepository, NoCommitError, open_repository, printable

__all__ = [
    "CheckoutFiles",
    "Commit",
    "GitError",
    "GitRepository",
    "Log",
    "NoCommitError",
    "checkout_files",
    "commits",
    "is_bare",
    "last_changes",
    "open_repository",
    "printable",
    "seconds",
    "without_secrets",
]
