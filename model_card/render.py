"""Join a card's fields with the templates: YAML for the Hub, Markdown for people."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.model_card import in_words, removed_texts, score_tables, training_sources
from codequarry.model_card.card import Card, on_the_hub
from codequarry.model_card.header import header
from codequarry.model_card.papers import taken_and_left
from codequarry.modules.tasks import TASKS, family_of, prompt_name

if TYPE_CHECKING:
    from jinja2 import Template

_FOLDER = Path(__file__).parent
# A query and what it should find, for the snippets: one side each.
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


def render_adapter(card: Card, *, sha256: str | None, size: int) -> str:
    """The card of an adapter's folder.

    Arguments: `sha256`, of the file that its base was made of, None where it was another kind; `size`, of the
    adapter in bytes.
    """
    return _tidy(template("adapter.md").render(_context(card), sha256=sha256, size=size))


def _context(card: Card) -> dict[str, Any]:
    """What the templates may say."""
    family = family_of(card.prompts)
    query, document = prompt_name(family.default_task, "query"), prompt_name(family.default_task, "document")
    return {
        "card": card,
        "header": header(card),
        "results": card.results or {},
        "fields": card.hyperparameters,
        "tasks": list(TASKS.values()),
        "prompts": {name: json.dumps(prompt, ensure_ascii=False) for name, prompt in card.prompts.items()},
        "default_task": family.default_task,
        "query": QUERY,
        "document": DOCUMENT,
        "query_prompt": query,
        "document_prompt": document,
        "prompted_query": json.dumps(card.prompts[query] + QUERY),
        "prompted_document": json.dumps(card.prompts[document] + DOCUMENT),
        "base": f"[{card.base_model}](https://huggingface.co/{card.base_model})"
        if on_the_hub(card.base_model)
        else f"`{card.base_model}`, which comes with codequarry",
        "served_as": card.load_as if on_the_hub(card.load_as) else "/model",
        "taken_and_left": taken_and_left,
        "words": in_words,
        "removed": removed_texts,
        "scores": score_tables,
        "sources": training_sources,
        "verified_in": {
            str(row.get("runtime")).lower() for row in (card.verification or {}).get("rows") or ()
        },
    }


def _tidy(text: str) -> str:
    # What the templates leave out leaves its blank lines behind.
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def template(name: str) -> "Template":
    """The template in the file `name` of this folder; a name that it misspells is an error, not a blank."""
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
