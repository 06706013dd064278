"""The shape of Hugging Face's text-embeddings-inference: `POST /embed`.

Fields and errors as its version 1.9 has them, with one difference: there a request without `prompt_name` is
embedded without a prompt; here it is refused, unless the server was started with a default prompt.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from codequarry.integrations.serve.encoder import Vectors
from codequarry.integrations.serve.numbers import as_list
from codequarry.integrations.serve.refused import Refused
from codequarry.integrations.serve.wanted import (
    Rules,
    Wanted,
    dims_of,
    flag_of,
    refuse_unknown,
    text_field,
    texts_of,
)

_FIELDS = ("inputs", "prompt_name", "normalize", "truncate", "truncation_direction", "dimensions")
_TYPES = {429: "Overloaded", 500: "Backend", 503: "Unhealthy"}


def read(body: Mapping[str, Any], rules: Rules) -> Wanted:
    """What a body asks for. Raises Refused as the fields say."""
    refuse_unknown(body, _FIELDS)
    direction = text_field(body, "truncation_direction") or "right"
    if direction.lower() != "right":
        raise Refused(
            422,
            f"truncation_direction {direction!r} would cut the prompt off first: only 'right' is offered.",
            field="truncation_direction",
        )
    return Wanted(
        prompt_name=rules.prompt(
            text_field(body, "prompt_name"), 'pass prompt_name, such as "nl2code_query".'
        ),
        texts=texts_of(body, "inputs", rules.limits),
        dims=dims_of(body, rules.served),
        normalize=flag_of(body, "normalize"),
        truncate=flag_of(body, "truncate"),
    )


def answer(wanted: Wanted, vectors: Vectors, tokens: Sequence[int]) -> bytes:
    """The JSON of TEI's answer: a list of vectors `(texts, dims)`."""
    return f"[{', '.join(as_list(row) for row in vectors)}]".encode()


def error(refused: Refused) -> dict[str, Any]:
    """TEI's error object."""
    return {"error": refused.sentence, "error_type": _TYPES.get(refused.status, "Validation")}
