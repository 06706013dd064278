"""The source distribution of a Python package: found on a package index, checked, read, and never run."""

import hashlib
import io
import os
import ssl
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from platformdirs import user_cache_path

from codequarry.data.sources.schema import Distribution

_DEFAULT_INDEX = "https://pypi.org/simple"
_TIMEOUT = 60  # seconds without an answer


def read_distribution(place: Distribution, index: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Path, with the package's name in front of it, and content of every file of a distribution, by path.

    index: URL of a simple package index, or a folder with the `.tar.gz` files in it; None for the index that
        pip is configured for.

    An archive is kept in the user's cache (`CODEQUARRY_CACHE`), so the second time needs no network. Nothing
    is unpacked to disk. Raises ValueError where the file is not found or is not the one the row means.
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
            raise ValueError(f"{folder} has no {name}: put the source distribution there.")
        return _checked(place, (folder / name).read_bytes(), str(folder / name))
    cache = Path(os.environ.get("CODEQUARRY_CACHE") or user_cache_path("codequarry")) / "distributions"
    kept = cache / f"{place.sha256[:12]}-{name}"
    if kept.is_file():
        return _checked(place, kept.read_bytes(), str(kept))
    index = index or _configured_index()
    content = _checked(place, _fetch(_link(index, place.package, name)), name)
    cache.mkdir(parents=True, exist_ok=True)
    beside = cache / f".{kept.name}.{os.getpid()}.tmp"
    beside.write_bytes(content)
    beside.rename(kept)
    return content


def _checked(place: Distribution, content: bytes, where: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != place.sha256:
        raise ValueError(
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
    links = _Links()
    links.feed(_fetch(page, "text/html").decode("utf-8", "replace"))
    for link in links.found:
        address = urllib.parse.urldefrag(urllib.parse.urljoin(page, link)).url
        if urllib.parse.unquote(address).endswith(f"/{name}"):
            return address
    raise ValueError(f"The package index has no {name}: pass --index with a folder that holds it.")


class _Links(HTMLParser):
    """The addresses of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if tag == "a" and address:
            self.found.append(address)


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
        raise ValueError(
            f"{shown} could not be read ({error}): is there a network? A folder with the source "
            "distributions does as well: pass --index FOLDER."
        ) from error
