"""A release wherever it lies: a folder here, or a revision of a repository on the Hub, downloaded anew."""

import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codequarry.release.hub_sentences import hub_sentences, log_without_secrets
from codequarry.release.publish_plan import OF_THE_HUB

_AT_REVISION = re.compile(r"([\w-][\w.-]*/[\w.-]+)@(\S+)")


@contextmanager
def local_copy(name: str, *, endpoint: str | None = None) -> Iterator[Path]:
    """The folder called `name`, or a fresh download of `ORG/NAME@REVISION`, gone afterwards.

    endpoint: of the Hub; None: as huggingface_hub has it (HF_ENDPOINT).

    Raises ValueError for anything else, and where the Hub does not give the files.

    >>> with local_copy("org/name@v0.1.0") as folder:
    ...     verify(folder)
    """
    if Path(name).is_dir():
        yield Path(name)
        return
    match = _AT_REVISION.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{name!r} is neither a folder here nor a release on the Hub: pass what `codequarry release "
            "build` wrote, or ORG/NAME@REVISION with a tag, a branch or a commit."
        )
    with downloaded(match[1], match[2], endpoint=endpoint) as (folder, _):
        yield folder


@contextmanager
def downloaded(repo_id: str, revision: str, *, endpoint: str | None = None) -> Iterator[tuple[Path, Path]]:
    """The files of `repo_id` at `revision`, fetched into an empty cache: (their folder, the cache).

    The Hub's own `.gitattributes` is left out, as no release has it. Both are gone afterwards; they take
    the room of the release in the folder for temporary files (TMPDIR).
    """
    from huggingface_hub import snapshot_download

    doing = f"downloading {repo_id} at {revision}"
    with tempfile.TemporaryDirectory(prefix="codequarry-") as cache:
        with log_without_secrets(), hub_sentences(doing, repo_id), _room_is_needed(doing):
            folder = snapshot_download(
                repo_id, revision=revision, cache_dir=cache, endpoint=endpoint, ignore_patterns=[OF_THE_HUB]
            )
        yield Path(folder), Path(cache)


@contextmanager
def _room_is_needed(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(
            f"There is not enough room in {tempfile.gettempdir()} for {doing}: set TMPDIR to a folder with "
            "room for the whole release, and give the same command again."
        ) from None
