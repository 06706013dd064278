"""What a run's record says of its data: each source and task, its licence, and how much of it was drawn."""

from collections.abc import Mapping
from typing import Any

from codequarry.data.mixture import source_of, task_of
from codequarry.data.sources.schema import Licence


def drawn(
    name: str, pairs: int, share: float, batches: int, batch_size: int, licences: Mapping[str, Licence]
) -> dict[str, Any]:
    """One row of the record; its licence is None where no row of ours has one.

    Arguments: `name`, `source:task`; `pairs`, to draw from; `share`, of the batches; `batches`, drawn, of
    `batch_size` pairs.
    """
    source = source_of(name)
    return {
        "source": source,
        "task": task_of(name),
        "pairs": pairs,
        "licence": licences[source].spdx if source in licences else None,
        "share": round(share, 4),
        "batches_drawn": batches,
        "pairs_drawn": batches * batch_size,
    }
