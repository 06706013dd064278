"""The card of a release's GGUF folder."""

import json
from collections.abc import Mapping, Sequence

from codequarry.model_card.render import DOCUMENT, QUERY, template
from codequarry.modules.tasks import family_of, prompt_name


def render_gguf_card(
    name: str, *, limit: int, dims: Sequence[int], prompts: Mapping[str, str], sizes: Mapping[str, int]
) -> str:
    """The card as the text of a README.md, YAML header included.

    Arguments:
        name: of the model.
        limit: tokens it reads, end-of-sequence included.
        dims: numbers a vector, largest first.
        prompts: of the model's family, by name.
        sizes: bytes of each GGUF file, by its name.
    """
    task = family_of(prompts).default_task
    query, document = prompt_name(task, "query"), prompt_name(task, "document")
    return template("gguf.md").render(
        name=name,
        limit=limit,
        dims=dims,
        sizes=sizes,
        files=list(sizes),
        query=json.dumps(QUERY),
        document=json.dumps(DOCUMENT),
        query_prompt=query,
        document_prompt=document,
        prompted_query=json.dumps(prompts[query] + QUERY),
        prompts={name: json.dumps(prompt, ensure_ascii=False) for name, prompt in prompts.items()},
    )
