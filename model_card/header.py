"""The YAML in front of a card, which the Hub reads: what the model is for, made of, and scores."""

from typing import Any

from codequarry.model_card.card import Card, on_the_hub
from codequarry.model_card.score_tables import Row, own_rows

_TAGS = ["sentence-transformers", "code", "code-search", "feature-extraction", "text-embeddings-inference"]
_HUB_TASK = "information-retrieval"  # as sentence-transformers calls it in the cards that it writes


def header(card: Card) -> str:
    """The card's metadata as YAML, model index included; what is not known is left out of it."""
    from huggingface_hub import ModelCardData

    results = [
        _result(row)
        for row in own_rows(card.results)
        if row.get("task") != "mean" and row.get("ndcg@10") is not None
    ]
    text: str = ModelCardData(
        language=["en", "code"],
        license="apache-2.0",
        library_name="sentence-transformers",
        pipeline_tag="feature-extraction",
        tags=_TAGS,
        base_model=card.base_model if on_the_hub(card.base_model) else None,
        datasets=list(card.datasets) or None,
        model_name=card.name if results else None,
        eval_results=results or None,
    ).to_yaml()
    return text


def _result(row: Row) -> Any:
    from huggingface_hub import EvalResult

    name = row.get("set") or row["task"]
    # A set that is not on the Hub must not bear the name of a data set that is: many are called mbpp.
    return EvalResult(
        task_type=_HUB_TASK,
        task_name=row["task"],
        dataset_type=row.get("dataset") or f"codequarry-{name}",
        dataset_name=name,
        dataset_revision=row.get("dataset_revision"),
        metric_type="ndcg_at_10",
        metric_name="nDCG@10",
        metric_value=row["ndcg@10"],
    )
