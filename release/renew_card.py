"""The card of a release that is built: rendered anew once there are more measurements to show."""

import json
import shutil
from pathlib import Path

from codequarry.model_card.render import render
from codequarry.modules.whole_files import write_text
from codequarry.release.card_fields import card_of
from codequarry.release.eval_results import FOLDER, write_eval_results
from codequarry.release.golden import GOLDEN
from codequarry.release.manifest import check_manifest, file_sha256, write_manifest
from codequarry.release.run_folder import RunFolder
from codequarry.release.weights import dtype_in_memory, dtype_on_disk

CARD = "README.md"


def renew_card(
    folder: Path,
    *,
    load_as: str | None = None,
    results: Path | None = None,
    decontamination: Path | None = None,
    verification: Path | None = None,
) -> None:
    """Write card, `.eval_results` and manifest of the release in `folder` anew; nothing else changes.

    Arguments:
        load_as: what users pass to `SentenceTransformer`, a Hub name; None: the folder's.
        results, decontamination, verification: as in `card_of`; what is None becomes "not measured".

    Raises ValueError for a folder that is not a release as it was built, and for the verification of another.

    >>> renew_card(Path("releases/mini"), verification=Path("verification.json"))
    """
    # A card that was changed, or whose writing was cut short, is what this is for.
    problems = [problem for problem in check_manifest(folder) if not problem.startswith((CARD, f"{FOLDER}/"))]
    if problems:
        raise ValueError(f"{folder} is not a release as it was built: {problems[0]}")
    if verification is not None:
        _refuse_another(folder, verification)
    card = card_of(
        RunFolder.read(folder),
        load_as=load_as or f"path/to/{folder.resolve().name}",
        dtype=dtype_on_disk(folder),
        in_memory=dtype_in_memory(folder),
        results=results,
        decontamination=decontamination,
        verification=verification,
    )
    rendered = render(card)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    if card.results is not None:
        write_eval_results(folder, card.results)
    write_text(folder / CARD, rendered)
    write_manifest(folder)


def _refuse_another(folder: Path, verification: Path) -> None:
    try:
        checked = json.loads(verification.read_text(encoding="utf-8")).get("golden_vectors")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{verification} cannot be read ({type(error).__name__}: {error}).") from error
    if checked != file_sha256(folder / GOLDEN):
        raise ValueError(
            f"{verification} is of another release: its golden vectors are not those of {folder}. Give "
            f"`codequarry release verify {folder} --out {verification}` first."
        )
