"""Join a card's fields with the template: YAML for the Hub, Markdown for people."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codequarry.model_card.card import NOT_MEASURED, Card
from codequarry.model_card.training_sources import by_licence, by_source, pairs_in, share_alike
from codequarry.modules.tasks import TASKS, prompts

_TEMPLATE = Path(__file__).with_name("template.md")
_TAGS = ["sentence-transformers", "code", "code-search", "feature-extraction", "text-embeddings-inference"]
_SCORE = re.compile(r"(\w+?)(?:_(\d+))?_ndcg@10")  # of validation: task, numbers a vector
_METRICS = ("ndcg@10", "mrr@10", "recall@1")


def render(card: Card) -> str:
    """The card as the text of a README.md, YAML header included.

    What a field leaves open reads "not measured"; nothing is guessed.

    >>> render(Card(name="mini", load_as="path/to/mini", version="0.1.0", dims=(384,), max_length=256,
    ...             pooling="mean", dtype="bf16", in_memory="fp32")).startswith("---")
    True
    """
    from huggingface_hub import ModelCard, ModelCardData

    header = ModelCardData(
        language=["en", "code"],
        license="apache-2.0",
        library_name="sentence-transformers",
        pipeline_tag="feature-extraction",
        tags=_TAGS,
        base_model=card.base_model if _on_the_hub(card.base_model) else None,
        datasets=list(card.datasets) or None,
    )
    made: ModelCard = ModelCard.from_template(
        header,
        template_path=str(_TEMPLATE),
        card=card,
        tasks=list(TASKS.values()),
        prompts={name: json.dumps(text, ensure_ascii=False) for name, text in prompts().items()},
        result_rows=_result_rows(card.results),
        base=f"[{card.base_model}](https://huggingface.co/{card.base_model})"
        if _on_the_hub(card.base_model)
        else f"`{card.base_model}`, which comes with codequarry",
        pairs=f"{pairs_in(card.training_data):,}",
        by_licence=by_licence(card.training_data),
        by_source=by_source(card.training_data),
        share_alike=share_alike(card.training_data),
        score_rows=_score_rows(card.scores),
        fields=card.hyperparameters,
        time=_time(card.seconds),
        measured=_measured,
        listed=_listed,
    )
    # What the template leaves out leaves its blank lines behind.
    return re.sub(r"\n{3,}", "\n\n", str(made)).rstrip() + "\n"


def _measured(value: Any) -> str:
    """The value in words, "not measured" where there is none."""
    if value is None or value == "" or value == {} or value == () or value == []:
        return NOT_MEASURED
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _listed(values: Mapping[str, Any] | None) -> str:
    """`key value` pairs in one line."""
    words = [
        f"{key.replace('_', ' ')} {_measured(value)}"
        for key, value in (values or {}).items()
        if value is not None
    ]
    return ", ".join(words) or NOT_MEASURED


def _result_rows(results: Mapping[str, Any] | None) -> list[list[str]]:
    rows = (results or {}).get("rows") or []
    return [
        [_measured(row.get("model")), row.get("set") or _measured(row.get("task"))]
        + [_measured(row.get(key)) for key in ("task", "queries", "documents")]
        + [f"{row[metric]:.3f}" if row.get(metric) is not None else NOT_MEASURED for metric in _METRICS]
        for row in rows
    ]


def _score_rows(scores: Mapping[str, float]) -> list[list[str]]:
    """A header and a row a task, with a column a number of dimensions; [] where nothing was scored."""
    found = {name: match for name in scores if (match := _SCORE.fullmatch(name))}
    sizes = list(dict.fromkeys(match[2] for match in found.values()))
    tasks = list(dict.fromkeys(match[1] for match in found.values()))
    value = {(match[1], match[2]): f"{scores[name]:.3f}" for name, match in found.items()}
    header = ["task", *(f"{size} dims" if size else "whole vectors" for size in sizes)]
    rows = [[task, *(value.get((task, size), NOT_MEASURED) for size in sizes)] for task in tasks]
    return [header, *rows] if rows else []


def _on_the_hub(name: str | None) -> bool:
    return name is not None and "/" in name


def _time(seconds: float | None) -> str:
    if seconds is None:
        return NOT_MEASURED
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{seconds / 3600:.1f} hours"
