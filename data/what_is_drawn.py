"""What a run says of its data: before it starts, what it is going to draw; in its record, what it drew."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from codequarry.data.mixture import source_of, task_of
from codequarry.data.sources.schema import Licence


def announced(sizes: Mapping[str, int], shares: Mapping[str, float]) -> list[str]:
    """A line for each source and task, mined repositories, of which there may be hundreds, together.

    Arguments: `sizes`, pairs by `source:task`; `shares`, of the batches, of those that are drawn.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    for name in shares:
        mined = "/" in source_of(name)
        parts[f"mined repositories:{task_of(name)}" if mined else name].append(name)
    lines = []
    for title, names in parts.items():
        pairs, share = (sum(numbers[name] for name in names) for numbers in (sizes, shares))
        of = f" of {len(names)}" if title not in shares else ""
        lines.append(f"{title}: {pairs:,} pairs{of}, {share:.1%} of the batches")
    return lines


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
