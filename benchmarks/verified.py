"""The table of how near every runtime comes to a release's golden vectors, from what `verify --out` wrote."""

from collections.abc import Mapping
from typing import Any

from codequarry.benchmarks.markdown import markdown_table


def verified_table(verifications: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a runtime and precision, a column a release: worst cosine and worst absolute difference.

    verifications: by the name of the release, what `codequarry release verify --out` wrote of it.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for name, verification in verifications.items():
        for row in verification["rows"]:
            of = cells.setdefault((f"{row['runtime']} {row['version']}", row["precision"]), {})
            of[name] = f"{row['worst_cosine']:.7f}, {row['worst_absolute_difference']:.1e}"
    return markdown_table(
        ["runtime", "precision", *verifications],
        [[*runtime, *(of.get(name, "-") for name in verifications)] for runtime, of in cells.items()],
        words=["precision"],
    )
