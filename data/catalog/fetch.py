"""What the places of a row hold: files of repositories and packages, records of data sets on the Hub."""

import hashlib
import html
import io
import json
import os
import re
import ssl
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from codequarry.common.errors import UserError
from codequarry.common.files import atomic_path, cache_folder, write_text
from codequarry.data.catalog.schema import Distribution, Git, Hub, Records, Where
from codequarry.data.git import open_repository
from codequarry.data.pair import Pair

LOCK = "data_sources.lock.json"
PLACE = "_config"  # the key of every record for the configuration that it is from


class UnreachableError(UserError):
    """The Hub, or a data set on it, could not be read; the message says what to do."""


def records_of(places: Iterable[Hub], lock: Path) -> Iterator[Mapping[str, Any]]:
    """Every record of these places in order, streamed; the key `_config` names the place.

    Where a place names no revision, the one in the lock file is read. Without one, the newest is asked
    of the Hub and written there, so that the next build reads the same. A folder on this machine laid out
    as a data set is read as it is.

    Arguments:
        lock: a JSON file, data set → revision; made where it is not there.

    Raises UnreachableError where the Hub does not answer or has no such data set, UserError where the
    package `datasets` is missing or the lock file is broken.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UserError(
            "Data sets on the Hub need the package datasets: pip install 'codequarry[train]'."
        ) from error
    for place in places:
        try:
            revision = _revision(place, lock)
            stream = load_dataset(
                place.dataset, name=place.config, split=place.split, streaming=True, revision=revision
            )
            for record in stream:
                yield {**record, PLACE: place.config or "default"}
        except Exception as error:
            if not _is_of_network(error):
                raise
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise UnreachableError(
                f"{place.dataset} could not be read from the Hub ({reason}): go online, set HF_TOKEN if it "
                "is gated, or pass --skip-unreachable to build without it."
            ) from error


def mteb_retrieval(task: str, source: str, language: str) -> Callable[[Records], Iterator[Pair]]:
    """A reader of a retrieval set in MTEB's layout: configurations corpus, queries and default (or qrels).

    Each judgement above zero becomes a pair, a document's title in front of its text. Configurations of
    several languages have the language in front, as `python-qrels`, and that becomes the pair's language.
    Corpus and queries must come before the judgements, as they do in a row.
    """

    def read(records: Records) -> Iterator[Pair]:
        texts: dict[tuple[str, str, str], str] = {}
        for record in records:
            spoken, _, kind = str(record[PLACE]).rpartition("-")
            if kind in ("corpus", "queries"):
                title = str(record.get("title") or "").strip()
                text = f"{title}\n{record['text']}".strip() if title else str(record["text"]).strip()
                texts[spoken, kind, str(record["_id"])] = text
                continue
            query = texts.get((spoken, "queries", str(record["query-id"])), "")
            document = texts.get((spoken, "corpus", str(record["corpus-id"])), "")
            if float(record["score"]) > 0 and query and document:
                yield Pair(task, query, document, source, spoken or language)

    return read


def _is_of_network(error: Exception) -> bool:
    # The Hub's client lets errors of the library below it through, and which library depends on its version.
    return isinstance(error, OSError) or type(error).__module__.startswith("httpx")


def _revision(place: Hub, lock: Path) -> str | None:
    if place.revision is not None or Path(place.dataset).is_dir():
        return place.revision
    known = _locked(lock)
    if place.dataset not in known:
        from huggingface_hub import HfApi

        found = HfApi().dataset_info(place.dataset).sha
        if not found:
            raise UnreachableError(f"The Hub gave no revision of {place.dataset}: try again later.")
        known[place.dataset] = found
        lock.parent.mkdir(parents=True, exist_ok=True)
        write_text(lock, json.dumps(known, indent=1, sort_keys=True) + "\n")
    return known[place.dataset]


def _locked(lock: Path) -> dict[str, str]:
    if not lock.exists():
        return {}
    try:
        found = json.loads(lock.read_bytes())
    except ValueError as error:
        raise UserError(f"{lock} is not readable as JSON: restore it, or delete it to lock anew.") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{lock} does not map data sets to revisions: restore it, or delete it to lock anew.")
    return found


_DEFAULT_INDEX = "https://pypi.org/simple"
_HREF = re.compile(r"""\bhref\s*=\s*["']([^"']+)""", re.IGNORECASE)
_TIMEOUT = 60  # seconds without an answer


def read_distribution(place: Distribution, index: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Path, with the package's name in front of it, and content of every file of a distribution, by path.

    index: URL of a simple package index, or a folder with the `.tar.gz` files in it; None for the index that
        pip is configured for.

    An archive is kept in the user's cache (`CODEQUARRY_CACHE`), so the second time needs no network. Nothing
    is unpacked to disk. Raises UserError where the file is not found or is not the one the row means.
    """
    with tarfile.open(fileobj=io.BytesIO(_archive(place, index)), mode="r:gz") as archive:
        files = {member.name: member for member in archive.getmembers() if member.isfile()}
        for name in sorted(files):
            opened = archive.extractfile(files[name])
            _, _, inside = name.partition("/")  # without `package-version/`
            if opened is not None and inside:
                yield f"{place.package}/{inside}", opened.read()


def _archive(place: Distribution, index: str | None) -> bytes:
    name = f"{place.package}-{place.version}.tar.gz"
    if index is not None and (folder := Path(index)).is_dir():
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}: put the source distribution there.")
        return _checked(place, (folder / name).read_bytes(), str(folder / name))
    cache = cache_folder("distributions")
    kept = cache / f"{place.sha256[:12]}-{name}"
    if kept.is_file():
        return _checked(place, kept.read_bytes(), str(kept))
    index = index or _configured_index()
    content = _checked(place, _fetch(_link(index, place.package, name)), name)
    cache.mkdir(parents=True, exist_ok=True)
    with atomic_path(kept) as temporary:
        temporary.write_bytes(content)
    return content


def _checked(place: Distribution, content: bytes, where: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != place.sha256:
        raise UserError(
            f"{where} is not the file the row of {place.package} {place.version} means: its sha256 is "
            f"{found[:12]}…, expected {place.sha256[:12]}…. Remove it, and look where it came from."
        )
    return content


def _configured_index() -> str:
    """The index that pip uses: its environment variable, its configuration, else the public one."""
    if from_environment := os.environ.get("PIP_INDEX_URL"):
        return from_environment
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True
    )
    return asked.stdout.strip() if asked.returncode == 0 and asked.stdout.strip() else _DEFAULT_INDEX


def _link(index: str, package: str, name: str) -> str:
    """The address of a file on the page of a package (PEP 503)."""
    page = f"{index.rstrip('/')}/{package}/"
    for link in _HREF.findall(_fetch(page, "text/html").decode("utf-8", "replace")):
        address = urllib.parse.urldefrag(urllib.parse.urljoin(page, html.unescape(link))).url
        if urllib.parse.unquote(address).endswith(f"/{name}"):
            return address
    raise UserError(f"The package index has no {name}: pass --index with a folder that holds it.")


def _fetch(address: str, accept: str = "*/*") -> bytes:
    shown = urllib.parse.urlsplit(address)._replace(query="").geturl().rpartition("@")[2]
    # pip's own certificate bundle, where a company's proxy needs one.
    context = ssl.create_default_context()
    if bundle := os.environ.get("PIP_CERT"):
        context.load_verify_locations(bundle)
    try:
        request = urllib.request.Request(address, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as answer:
            content: bytes = answer.read()
            return content
    except (OSError, ValueError) as error:
        raise UserError(
            f"{shown} could not be read ({error}): is there a network? A folder with the source "
            "distributions does as well: pass --index FOLDER."
        ) from error


def files_of(
    where: Iterable[Where], mirrors: Path | None = None, index: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file of these places, one place after the other, sorted by path in each.

    Arguments:
        where: a git repository's files come as `owner/name/path`, a distribution's as `package/path`.
        mirrors: a folder of bare clones or checkouts, tried before the network, as in `open_repository`.
        index: a package index or a folder of source distributions, as in `read_distribution`.

    Raises UserError for a place on the Hub, which has records and no files, and for what cannot be read.
    """
    for place in where:
        if isinstance(place, Git):
            repository = open_repository(
                place.repository, commit=place.commit, mirrors=mirrors, is_typed=False
            )
            paths = repository.list_files(place.commit, place.paths)
            for path, content in repository.read_files(place.commit, paths):
                yield f"{place.repository}/{path}", content
        elif isinstance(place, Distribution):
            yield from read_distribution(place, index)
        else:
            raise UserError(f"{place.dataset} is a data set on the Hub: it has records, not files.")
