"""Mined pairs on disk, one file per kind, and their summary as tables."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from codequarry.common.errors import UserError
from codequarry.common.files import write_json
from codequarry.common.tables import count_table
from codequarry.data.mining.mine import MinedPairs
from codequarry.data.mining.schema import KINDS
from codequarry.data.pair_files import SUFFIXES, fingerprint, write_pairs

SIDES = ("train", "heldout")
SUMMARY = "mined.json"
Format = Literal["jsonl", "parquet"]
_SUFFIX: Mapping[Format, str] = {"jsonl": ".jsonl.gz", "parquet": ".parquet"}


def check_out(out: Path) -> None:
    """Raise UserError for a file, and for a folder with pairs that mining did not write."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: pass a folder to write the pairs to.")
    ours = {f"{kind}{suffix}" for kind in KINDS for suffix in _SUFFIX.values()}
    for side in SIDES:
        for file in sorted((out / side).glob("*")):
            if file.name.endswith(SUFFIXES) and file.name not in ours and not file.name.startswith("."):
                raise UserError(
                    f"{file} was not written by mining and would be read as if it were: move it away, or "
                    f"pass an empty folder."
                )


def write_mined(out: Path, mined: MinedPairs, form: Format = "jsonl") -> None:
    """Write `train/<kind>`, `heldout/<kind>` and last `mined.json`, the counts.

    What an earlier run left is removed first, then the held-out side is written, then the training side:
    after a kill at any moment there is no training file next to held-out pairs of another run, and
    `mined.json` is there only when all files are whole. A kind without pairs has no file. The same pairs
    give the same bytes, and no path of this machine is written.

    form: `jsonl` for JSON Lines under gzip, `parquet`.

    Raises UserError when `out` holds other pairs, and when the disk takes no more.
    """
    check_out(out)
    try:
        _write(out, mined, form)
    except OSError as failed:
        raise UserError(f"The pairs could not be written to {out}: {failed.strerror or failed}.") from failed


def _write(out: Path, mined: MinedPairs, form: Format) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / SUMMARY).unlink(missing_ok=True)
    for side in SIDES:
        for kind in KINDS:
            for suffix in _SUFFIX.values():
                (out / side / f"{kind}{suffix}").unlink(missing_ok=True)
    written = [side for side in reversed(SIDES) if any(mined.by_kind[side].values())]
    for side in written:
        for kind, pairs in mined.by_kind[side].items():
            if pairs:
                write_pairs(out / side / f"{kind}{_SUFFIX[form]}", pairs)
    write_json(
        out / SUMMARY, summary(mined) | {"fingerprints": {side: fingerprint(out / side) for side in written}}
    )


def summary(mined: MinedPairs) -> dict[str, Any]:
    """The counts of a mining run as plain data; nothing in it depends on the machine."""
    return {
        "sources": dict(mined.sources),
        "pairs": {side: {kind: len(pairs) for kind, pairs in mined.by_kind[side].items()} for side in SIDES},
        "languages": {
            side: dict(sorted(Counter(pair.language for pair in getattr(mined, side)).items()))
            for side in SIDES
        },
        "filtered": dict(sorted(mined.filtered.items())),
        "files": {
            "read": mined.files.read,
            "skipped": dict(sorted(mined.files.skipped.items())),
            "left_out": [one._asdict() for one in sorted(mined.files.left_out)],
        },
    }


def summary_table(mined: MinedPairs) -> str:
    """The counts of a mining run as tables of plain text."""
    by_kind = {side: mined.by_kind[side] for side in SIDES}
    rows: list[tuple[str, ...]] = [("pairs", "train", "held out")]
    rows += [
        (f"{kind} ({KINDS[kind].task})", *(f"{len(by_kind[side][kind]):,}" for side in SIDES))
        for kind in by_kind["train"]
    ]
    rows += [("all", f"{len(mined.train):,}", f"{len(mined.heldout):,}")]
    languages = Counter(pair.language for pair in (*mined.train, *mined.heldout))
    counts = [
        Counter(pair.language for side in SIDES for pair in by_kind[side][kind]) for kind in by_kind["train"]
    ]
    by_language: list[tuple[str, ...]] = [("language", *by_kind["train"])]
    by_language += [
        (language, *(f"{count[language]:,}" for count in counts)) for language, _ in _by_count(languages)
    ]
    parts = [count_table(rows), count_table(by_language)] if languages else [count_table(rows)]
    if mined.filtered:
        left_out = [(name, f"{count:,}") for name, count in _by_count(mined.filtered)]
        parts.append(count_table([("left out", ""), *left_out]))
    passed = [(name, f"{count:,}") for name, count in _by_count(mined.files.skipped)]
    parts.append(count_table([("files", ""), ("read", f"{mined.files.read:,}"), *passed]))
    speed = f"{mined.files.read / mined.seconds:,.0f} files per second" if mined.seconds else ""
    return "\n\n".join([*parts, f"{mined.seconds:,.1f} seconds, {speed}"])


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))
