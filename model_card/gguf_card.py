"""The card of a release's GGUF folder."""

import json
from collections.abc import Mapping, Sequence

from codequarry.model_card.render import DOCUMENT, QUERY, template
from codequarry.modules.tasks import DEFAULT_TASK, prompt_name, prompts


def render_gguf_card(name: str, *, limit: int, dims: Sequence[int], sizes: Mapping[str, int]) -> str:
    """The card as the text of a README.md, YAML header included.

    Arguments:
        name: of the model.
        limit: tokens it reads, end-of-sequence included.
        dims: numbers a vector, largest first.
        sizes: bytes of each GGUF file, by its name.
    """
    query, document = prompt_name(DEFAULT_TASK, "query"), prompt_name(DEFAULT_TASK, "document")
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
        prompted_query=json.dumps(prompts()[query] + QUERY),
        prompts={name: json.dumps(prompt, ensure_ascii=False) for name, prompt in prompts().items()},
    )
