"""Git repositories read without running, fetching or obeying anything of theirs."""

from codequarry.data.git.checkout import CheckoutFiles, checkout_files
from codequarry.data.git.repository import (
    Commit,
    GitRepository,
    commits,
    is_bare,
    last_changes,
    open_repository,
    read_log,
)

__all__ = [
    "CheckoutFiles",
    "Commit",
    "GitRepository",
    "checkout_files",
    "commits",
    "is_bare",
    "last_changes",
    "open_repository",
    "read_log",
]
