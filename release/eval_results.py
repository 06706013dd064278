"""`.eval_results/*.yaml`: the scores of a release as the Hub reads them, one file a data set of the Hub."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codequarry.model_card.score_tables import Row, own_rows

FOLDER = ".eval_results"
_DATASET = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def write_eval_results(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """Write the model's own scores in `results` below `folder`, and return the files; [] for none.

    Only rows with a `dataset`, the Hub name of the set that was scored, are written: a set that is not on the
    Hub has no page for its score to stand on. nDCG@10 is the value, between 0 and 1.

    Arguments:
        folder: of the release.
        results: a results file of the benchmarks, as `Card.results` has it.

    Raises ValueError for a `dataset` that is no Hub name, and for two scores of one set.

    >>> write_eval_results(Path("releases/mini"), results)
    [PosixPath('releases/mini/.eval_results/CosQA.yaml')]
    """
    rows: dict[str, Row] = {}
    for row in own_rows(results):
        if not row.get("dataset") or row.get("ndcg@10") is None:
            continue
        if not _DATASET.fullmatch(row["dataset"]):
            raise ValueError(f"{row['dataset']!r} is no name of a data set on the Hub, as 'owner/name' is.")
        name = re.sub(r"[^\w.-]", "_", row["set"])
        if name in rows:
            raise ValueError(f"The results hold two scores of {row['set']}: one file can hold only one.")
        rows[name] = row
    if rows:
        (folder / FOLDER).mkdir(exist_ok=True)
    written = []
    for name, row in rows.items():
        written.append(folder / FOLDER / f"{name}.yaml")
        written[-1].write_text(_entry(row, results.get("date")), encoding="utf-8")
    return written


def _entry(row: Row, date: str | None) -> str:
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    entry = EvalResultEntry(
        dataset_id=row["dataset"],
        task_id=row["set"],
        value=row["ndcg@10"],
        dataset_revision=row.get("dataset_revision"),
        date=date,
        notes=f"nDCG@10, with the prompts of {row['task']}",
    )
    text: str = yaml_dump(eval_result_entries_to_yaml([entry]))
    return text
