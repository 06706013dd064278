"""Records of data sets on the Hugging Face Hub, streamed at a revision that is written down."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from codequarry.data.pair import Pair
from codequarry.data.sources.schema import Hub, Records

LOCK = "data_sources.lock.json"
PLACE = "_config"  # the key under which every record says which configuration it is from


class UnreachableError(ValueError):
    """The Hub, or a data set on it, could not be read; the message says what to do."""


def records_of(places: Iterable[Hub], lock: Path) -> Iterator[Mapping[str, Any]]:
    """Every record of these places in order, streamed; the key `_config` tells the places apart.

    Where a place names no revision, the one in the lock file is read. One that nobody has seen yet is asked
    from the Hub and written there, so that the next build reads the same. A folder on this machine laid out
    as a data set is read as it lies.

    Arguments:
        lock: a JSON file, data set → revision; made where it is not there.

    Raises UnreachableError where the Hub does not answer or has no such data set, ValueError where the
    package `datasets` is missing or the lock file is broken.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(
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
    several languages bear the language in front, as `python-qrels`, and that becomes the pair's language.
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
        beside = lock.with_name(f".{lock.name}.{os.getpid()}.tmp")
        beside.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        beside.replace(lock)
    return known[place.dataset]


def _locked(lock: Path) -> dict[str, str]:
    if not lock.exists():
        return {}
    try:
        found = json.loads(lock.read_bytes())
    except ValueError as error:
        raise ValueError(f"{lock} is not readable as JSON: restore it, or delete it to lock anew.") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(
            f"{lock} does not map data sets to revisions: restore it, or delete it to lock anew."
        )
    return found
