"""What cleaning took out of the training data, and which evaluation sets it was held against, as tables."""

from collections.abc import Mapping
from typing import Any

from codequarry.model_card.in_words import Table, counted

Report = Mapping[str, Any] | None  # of `codequarry data clean`, as in Card

_LOOK = "evaluation: "  # begins the name of each way in which a pair can equal a text of an evaluation set


def by_reason(report: Report) -> Table:
    """Why pairs were removed, and how many for each reason."""
    why = (report or {}).get("why") or {}
    return [["removed because", "pairs"], *([reason, counted(number)] for reason, number in why.items())]


def by_evaluation_set(report: Report) -> Table:
    """Each evaluation set that was looked for: its texts, and the pairs removed by each way of looking."""
    sets = (report or {}).get("eval_sets") or {}
    looks = list(dict.fromkeys(look for found in sets.values() for look in found.get("removed", {})))
    head = ["evaluation set", "texts", *(look.removeprefix(_LOOK) for look in looks)]
    rows = [
        [name, counted(found.get("texts"))]
        + [counted(found["removed"][look]) if look in found.get("removed", {}) else "none" for look in looks]
        for name, found in sets.items()
    ]
    return [head, *rows] if rows else []


def languages_of(report: Report, most: int = 20) -> str:
    """The languages of the pairs that stayed, with their pairs, the `most` common ones; "" if not known."""
    languages: Mapping[str, int] = (report or {}).get("languages") or {}
    common = [f"{name} {counted(number)}" for name, number in list(languages.items())[:most]]
    return ", ".join([*common, *(["and others"] if len(languages) > most else [])])
