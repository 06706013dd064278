"""The files of the places that a row names: git repositories at a commit, and source distributions."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from codequarry.data.git_repository import open_repository
from codequarry.data.sources.distributions import read_distribution
from codequarry.data.sources.schema import Distribution, Git, Where


def files_of(
    where: Iterable[Where], mirrors: Path | None = None, index: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file of these places, one place after the other, sorted by path in each.

    Arguments:
        where: a git repository's files come as `owner/name/path`, a distribution's as `package/path`.
        mirrors: a folder of bare clones or checkouts, tried before the network, as in `open_repository`.
        index: a package index or a folder of source distributions, as in `read_distribution`.

    Raises ValueError for a place on the Hub, which has records and no files, and for whatever cannot be read.
    """
    for place in where:
        if isinstance(place, Git):
            repository = open_repository(place.repository, commit=place.commit, mirrors=mirrors)
            paths = repository.list_files(place.commit, place.paths)
            for path, content in repository.read_files(place.commit, paths):
                yield f"{place.repository}/{path}", content
        elif isinstance(place, Distribution):
            yield from read_distribution(place, index)
        else:
            raise ValueError(f"{place.dataset} is a data set on the Hub: it has records, not files.")
