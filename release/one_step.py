"""A folder that appears under its name in one rename, whole, or replaces an older one so.

Whatever a killed program left beside it is cleared away, or put back, by the next one.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codequarry.release.manifest import MANIFEST


@contextmanager
def in_one_step(out: Path, *, replace: bool) -> Iterator[Path]:
    """Yield an empty folder to write into, which becomes `out` if the block ends well.

    Raises ValueError when `out` exists, unless `replace`, and when it is no release.

    >>> with in_one_step(Path("releases/mini"), replace=False) as building:
    ...     (building / "README.md").write_text("…")
    """
    building, old = out.with_name(f".{out.name}.building"), out.with_name(f".{out.name}.old")
    _clear_leftovers(out, building, old)
    refuse_existing(out, replace)
    building.mkdir(parents=True)
    yield building
    if out.exists():
        out.rename(old)
    building.rename(out)
    if old.exists():
        shutil.rmtree(old)


def refuse_existing(out: Path, replace: bool) -> None:
    """Raise ValueError when `out` exists and may not be replaced, or is something else than a release."""
    if not out.exists():
        return
    if not replace:
        raise ValueError(
            f"{out} exists. Choose another folder, or pass --replace to put this release in its place."
        )
    if not (out / MANIFEST).is_file():
        raise ValueError(
            f"{out} is not a release (it has no {MANIFEST}), so it is not replaced. Choose another folder."
        )


def _clear_leftovers(out: Path, building: Path, old: Path) -> None:
    if building.exists():
        shutil.rmtree(building)
    if old.exists() and not out.exists():
        old.rename(out)  # killed between the two renames: the older release is still the newest whole one
    elif old.exists():
        shutil.rmtree(old)
