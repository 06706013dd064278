"""What a run says of its data: before it starts, what it is going to draw; in its record, what it drew."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from codequarry.data.mixture import source_of, task_of
from codequarry.data.sources.paper_rows import HUB_SOURCES
from codequarry.data.sources.schema import Hub, Licence
from codequarry.data.sources.train_rows import TRAIN_SOURCES


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

    `datasets`, the Hub names of what the source was read from, is there where it came from the Hub.

    Arguments: `name`, `source:task`; `pairs`, to draw from; `share`, of the batches; `batches`, drawn, of
    `batch_size` pairs.
    """
    source = source_of(name)
    row = TRAIN_SOURCES.get(source) or HUB_SOURCES.get(source)
    places = row.where if row is not None else ()
    datasets = list(dict.fromkeys(place.dataset for place in places if isinstance(place, Hub)))
    found: dict[str, Any] = {
        "source": source,
        "task": task_of(name),
        "pairs": pairs,
        "licence": licences[source].spdx if source in licences else None,
        "share": round(share, 4),
        "batches_drawn": batches,
        "pairs_drawn": batches * batch_size,
    }
    return found | ({"datasets": datasets} if datasets else {})
