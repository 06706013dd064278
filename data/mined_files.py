"""Mined pairs on disk, and their summary for a person to read."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codequarry.data.mining import KINDS, MinedPairs
from codequarry.data.pair import Pair
from codequarry.data.pair_files import fingerprint, write_pairs

TRAIN = Path("train", "pairs.jsonl.gz")
HELDOUT = Path("heldout", "pairs.jsonl.gz")
SUMMARY = "mined.json"


def write_mined(out: Path, mined: MinedPairs) -> None:
    """Write `train/pairs.jsonl.gz`, `heldout/pairs.jsonl.gz` and last `mined.json`, the counts.

    What an earlier run left is removed first, then the held-out side is written, then the training side:
    whenever a kill comes, no training file stands beside held-out pairs of another run, and `mined.json`
    stands only beside files that are whole. A side without pairs has no file. The same pairs give the same
    bytes, and no path of this machine is written.
    """
    out.mkdir(parents=True, exist_ok=True)
    for place in (SUMMARY, TRAIN, HELDOUT):
        (out / place).unlink(missing_ok=True)
    fingerprints = {}
    for place, pairs in ((HELDOUT, mined.heldout), (TRAIN, mined.train)):
        if pairs:
            write_pairs(out / place, pairs)
            fingerprints[place.parent.name] = fingerprint(out / place)
    beside = out / f".{SUMMARY}.{os.getpid()}.tmp"
    text = json.dumps(summary(mined) | {"fingerprints": fingerprints}, indent=2, ensure_ascii=False)
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(out / SUMMARY)


def summary(mined: MinedPairs) -> dict[str, Any]:
    """The counts of a mining run as plain data."""
    return {
        "roots": list(mined.roots),
        "pairs": {side: _counts(pairs, "task") for side, pairs in _sides(mined)},
        "languages": {side: _counts(pairs, "language") for side, pairs in _sides(mined)},
        "filtered": _sorted(mined.filtered),
        "files": {"read": mined.sources.read, "skipped": _sorted(mined.sources.skipped)},
    }


def summary_table(mined: MinedPairs) -> str:
    """The counts of a mining run as a table of plain text."""
    counted = {side: _counts(pairs, "task") for side, pairs in _sides(mined)}
    rows = [("pairs", "train", "held out")]
    rows += [(kind, f"{counted['train'][kind]:,}", f"{counted['heldout'][kind]:,}") for kind in KINDS]
    rows += [("all", f"{len(mined.train):,}", f"{len(mined.heldout):,}")]
    parts = [_table(rows)]
    if mined.filtered:
        parts.append(_table([("left out", ""), *_rows(mined.filtered)]))
    files = [("files", ""), ("read", f"{mined.sources.read:,}"), *_rows(mined.sources.skipped)]
    return "\n\n".join([*parts, _table(files)])


def _sides(mined: MinedPairs) -> tuple[tuple[str, list[Pair]], ...]:
    return ("train", mined.train), ("heldout", mined.heldout)


def _counts(pairs: Sequence[Pair], field: str) -> Counter[str]:
    counts = Counter(getattr(pair, field) for pair in pairs)
    return Counter({name: counts[name] for name in (KINDS if field == "task" else sorted(counts))})


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts)}


def _rows(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{count:,}") for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    first = max(len(row[0]) for row in rows)
    lines = [row[0].ljust(first) + "".join(cell.rjust(11) for cell in row[1:]) for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(line.rstrip() for line in lines)
