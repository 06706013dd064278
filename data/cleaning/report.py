"""What cleaning took out, and why: counted for each source and each evaluation set, with examples."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codequarry.common.tables import count_table
from codequarry.data.cleaning.decontamination import LOOKS
from codequarry.data.deduplication import EXACT, NEAR, REPEATED
from codequarry.data.pair import Pair

SHORT, LONG = "too short", "too long"
REASONS = (SHORT, LONG, EXACT, REPEATED, NEAR, *LOOKS)  # in the order of the looks: the first one counts
_EXAMPLES = 5  # of each reason
_KEPT = ("tasks", "languages")
_SHOWN = 300  # characters of a text


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a pair was removed.

    reason: one of `REASONS`.
    because: what it was compared with, or how long it is.
    eval_set: the evaluation set that holds it, "" for other reasons.
    """

    reason: str
    because: str
    eval_set: str = ""


def count_file(
    name: str, malformed: int, pairs: Sequence[Pair], removals: Sequence[Removal | None]
) -> dict[str, Any]:
    """What happened to the pairs of one file, as plain data."""
    sources: dict[str, dict[str, Any]] = {}
    eval_sets: dict[str, Counter[str]] = {}
    examples: dict[str, list[dict[str, str]]] = {}
    tasks, languages = Counter[str](), Counter[str]()  # of what stays
    for pair, removal in zip(pairs, removals, strict=True):
        source = sources.setdefault(pair.source, {"in": 0, "out": 0, "why": Counter()})
        source["in"] += 1
        if removal is None:
            source["out"] += 1
            tasks[pair.task] += 1
            languages[pair.language] += 1
            continue
        source["why"][removal.reason] += 1
        if removal.eval_set:
            eval_sets.setdefault(removal.eval_set, Counter())[removal.reason] += 1
        if source["why"][removal.reason] <= _EXAMPLES:
            examples.setdefault(removal.reason, []).append(_example(pair, removal))
    return {
        "file": name,
        "malformed": malformed,
        "tasks": tasks,
        "languages": languages,
        "sources": sources,
        "eval_sets": eval_sets,
        "examples": examples,
    }


def join(
    files: Sequence[Mapping[str, Any]], eval_texts: Mapping[str, int], limits: Mapping[str, Any]
) -> dict[str, Any]:
    """The report over all files; `eval_texts` says how many texts each evaluation set has."""
    sources: dict[str, dict[str, Any]] = {}
    eval_sets = {name: Counter[str]() for name in sorted(eval_texts)}
    for file in files:
        for name, counted in file["sources"].items():
            source = sources.setdefault(name, {"in": 0, "out": 0, "why": Counter()})
            source["in"] += counted["in"]
            source["out"] += counted["out"]
            source["why"].update(counted["why"])
        for name, looks in file["eval_sets"].items():
            eval_sets[name].update(looks)
    total = sum((source["why"] for source in sources.values()), Counter[str]())
    return {
        "in": sum(source["in"] for source in sources.values()),
        "out": sum(source["out"] for source in sources.values()),
        "malformed": {file["file"]: file["malformed"] for file in files if file["malformed"]},
        "why": _ordered(total),
        **{name: _summed(files, name) for name in _KEPT},
        "sources": {
            name: source | {"why": _ordered(source["why"])} for name, source in sorted(sources.items())
        },
        "eval_sets": {
            name: {"texts": eval_texts[name], "removed": _ordered(looks)} for name, looks in eval_sets.items()
        },
        "limits": dict(limits),
    }


def examples_of(files: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, str]]]:
    """A few removed pairs for each reason that occurred, from as many sources as there are."""
    return {
        reason: _varied(found)
        for reason in REASONS
        if (found := [one for file in files for one in file["examples"].get(reason, ())])
    }


def report_table(report: Mapping[str, Any]) -> str:
    """The report as plain text: sources by reason, what stays, evaluation sets by look."""
    reasons = [reason for reason in REASONS if reason in report["why"]]
    heads = [reason.replace("evaluation:", "eval:") for reason in reasons]
    rows = [["source", "in", *heads, "out"]]
    for name, source in [*report["sources"].items(), ("all", report)]:
        why = [source["why"].get(reason, 0) for reason in reasons]
        rows.append([name, f"{source['in']:,}", *(f"{n:,}" if n else "·" for n in why), f"{source['out']:,}"])
    kept = [f"{name}: " + ", ".join(f"{what} {n:,}" for what, n in report[name].items()) for name in _KEPT]
    parts = [count_table(rows), "\n".join(kept)]
    if report["eval_sets"]:
        rows = [["evaluation set", "texts", *(look.removeprefix("evaluation: ") for look in LOOKS)]]
        for name, one in report["eval_sets"].items():
            removed = [one["removed"].get(look, 0) for look in LOOKS]
            rows.append([name, f"{one['texts']:,}", *(f"{n:,}" if n else "·" for n in removed)])
        parts.append("pairs removed for an evaluation set\n" + count_table(rows))
    for file, malformed in report["malformed"].items():
        parts.append(f"{file}: {malformed:,} malformed records left out")
    return "\n\n".join(parts)


def _example(pair: Pair, removal: Removal) -> dict[str, str]:
    shown = {
        "source": pair.source,
        "task": pair.task,
        "query": _cut(pair.query),
        "document": _cut(pair.document),
        "because of": _cut(removal.because),
    }
    return shown | ({"evaluation set": removal.eval_set} if removal.eval_set else {})


def _summed(files: Sequence[Mapping[str, Any]], name: str) -> dict[str, int]:
    total = sum((Counter(file[name]) for file in files), Counter[str]())
    return dict(sorted(total.items(), key=lambda one: (-one[1], one[0])))


def _varied(examples: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """A few of the examples: the first of each source, then the second of each."""
    seen: Counter[str] = Counter()
    rounds = []
    for position, example in enumerate(examples):
        rounds.append((seen[example["source"]], position))
        seen[example["source"]] += 1
    return [examples[position] for _, position in sorted(rounds)[:_EXAMPLES]]


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return {reason: counts[reason] for reason in REASONS if counts.get(reason)}
