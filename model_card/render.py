"""Join a card's fields with the templates: YAML for the Hub, Markdown for people."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.model_card import tables
from codequarry.model_card.card import Card, on_the_hub, taken_and_left
from codequarry.model_card.tables import Row, own_rows
from codequarry.modules.tasks import TASKS, family_of, prompt_name

if TYPE_CHECKING:
    from jinja2 import Template

_FOLDER = Path(__file__).parent

# A query and the document it should find, for the snippets.
QUERY, DOCUMENT = "parse an ISO 8601 date", "def parse(s): return date.fromisoformat(s)"


def render(card: Card) -> str:
    """The card as the text of a README.md, YAML header included.

    What a field leaves open reads "not measured"; nothing is guessed.

    >>> render(Card(name="mini", load_as="path/to/mini", version="0.1.0", dims=(384,), max_length=256,
    ...             pooling="mean", dtype="bf16", in_memory="fp32",
    ...             prompts=CODE.prompts())).startswith("---")
    True
    """
    return _tidy(template("template.md").render(_context(card)))


def render_adapter(card: Card, *, sha256: str | None, size: int, gguf: str | None = None) -> str:
    """The card of an adapter's folder.

    sha256: of the file that its base was made of; None where the base was no single file. size: of the
    adapter, in bytes. gguf: the name of the file in the base's repository, where the folder has the modules
    that sentence-transformers reads; None for another base or without them.
    """
    return _tidy(template("adapter.md").render(_context(card), sha256=sha256, size=size, gguf=gguf))


def _context(card: Card) -> dict[str, Any]:
    """The names that the templates use."""
    return {
        "card": card,
        "header": header(card),
        "results": card.results or {},
        "fields": card.hyperparameters,
        "tasks": list(TASKS.values()),
        "default_task": family_of(card.prompts).default_task,
        "query": QUERY,
        "document": DOCUMENT,
        **_prompted(card.prompts),
        "base": f"[{card.base_model}](https://huggingface.co/{card.base_model})"
        if on_the_hub(card.base_model)
        else f"`{card.base_model}`, which comes with codequarry",
        "served_as": card.load_as if on_the_hub(card.load_as) else "/model",
        "taken_and_left": taken_and_left,
        "tables": tables,
        "verified_in": {
            str(row.get("runtime")).lower() for row in (card.verification or {}).get("rows") or ()
        },
    }


def _prompted(prompts: Mapping[str, str]) -> dict[str, Any]:
    """The prompts as JSON, and those of the default task by name and in front of the example."""
    task = family_of(prompts).default_task
    query, document = prompt_name(task, "query"), prompt_name(task, "document")
    return {
        "prompts": {name: json.dumps(prompt, ensure_ascii=False) for name, prompt in prompts.items()},
        "query_prompt": query,
        "document_prompt": document,
        "prompted_query": json.dumps(prompts[query] + QUERY),
        "prompted_document": json.dumps(prompts[document] + DOCUMENT),
    }


def _tidy(text: str) -> str:
    # What the templates leave out leaves its blank lines behind.
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def template(name: str) -> "Template":
    """The template in the file `name` of this folder; an unknown name in it is an error, not a blank."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, not HTML
    )
    return environment.get_template(name)


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
    # A set that is not on the Hub must not have the name of a data set that is: many are called mbpp.
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


def render_gguf_card(
    name: str, *, limit: int, dims: Sequence[int], prompts: Mapping[str, str], sizes: Mapping[str, int]
) -> str:
    """The card as the text of a README.md, YAML header included.

    Arguments:
        name: of the model.
        limit: tokens it reads, end-of-sequence included.
        dims: trained dimensions, largest first.
        prompts: of the model's family, by name.
        sizes: bytes of each GGUF file, by its name.
    """
    return template("gguf.md").render(
        name=name,
        limit=limit,
        dims=dims,
        sizes=sizes,
        files=list(sizes),
        query=json.dumps(QUERY),
        document=json.dumps(DOCUMENT),
        **_prompted(prompts),
    )
