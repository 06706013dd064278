"""OpenAI's shape: `POST /v1/embeddings` and `GET /v1/models`.

A client that knows only OpenAI's fields names the prompt behind the model's name, `mini:nl2code_query`; one
that can send more (`extra_body` of the openai package) sends `task` and `side`. Either way a request that
names no side is refused, unless the server was started with a default prompt.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from codequarry.integrations.serve.encoder import Served, Vectors
from codequarry.integrations.serve.numbers import as_list
from codequarry.integrations.serve.refused import Refused
from codequarry.integrations.serve.wanted import Rules, Wanted, dims_of, refuse_unknown, text_field, texts_of
from codequarry.modules.tasks import SIDES, TASKS, prompt_name

_FIELDS = ("model", "input", "task", "side", "dimensions", "encoding_format", "user")


def read(body: Mapping[str, Any], rules: Rules) -> Wanted:
    """What a body asks for. Raises Refused: 404 for another model, else as the fields say."""
    refuse_unknown(body, _FIELDS)
    encoding = text_field(body, "encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise Refused(422, f"encoding_format is {encoding!r}: pass float or base64.", field="encoding_format")
    model, behind_name = _model(text_field(body, "model"), rules.served)
    name = _named(text_field(body, "task"), text_field(body, "side"))
    if name and behind_name and name != behind_name:
        raise Refused(422, f"the model's name asks for {behind_name}, task and side for {name}: name one.")
    how = f'pass task and side, or name the model with its prompt, "{rules.served.name}:nl2code_query".'
    return Wanted(
        prompt_name=rules.prompt(name or behind_name, how),
        texts=texts_of(body, "input", rules.limits),
        dims=dims_of(body, rules.served),
        model=model,
        base64=encoding == "base64",
    )


def answer(wanted: Wanted, vectors: Vectors, tokens: Sequence[int]) -> bytes:
    """The JSON of OpenAI's answer. Vectors `(texts, dims)`; `prompt_tokens` is what the model read."""
    rows = ", ".join(
        f'{{"object": "embedding", "index": {index}, "embedding": '
        f"{json.dumps(_base64(row)) if wanted.base64 else as_list(row)}}}"
        for index, row in enumerate(vectors)
    )
    total = sum(tokens)
    usage = json.dumps({"prompt_tokens": total, "total_tokens": total})
    return (
        f'{{"object": "list", "model": {json.dumps(wanted.model)}, "usage": {usage}, "data": [{rows}]}}'
    ).encode()


def error(refused: Refused) -> dict[str, Any]:
    """OpenAI's error object."""
    codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    return {
        "error": {
            "message": refused.sentence,
            "type": "server_error" if refused.status >= 500 else "invalid_request_error",
            "param": refused.field,
            "code": codes.get(refused.status),
        }
    }


def models(served: Served) -> dict[str, Any]:
    """The list of models: the one there is, and once more for each prompt its name can carry."""
    names = [served.name, *(f"{served.name}:{prompt}" for prompt in served.prompts)]
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "codequarry"} for name in names],
    }


def _model(asked: str | None, served: Served) -> tuple[str, str | None]:
    if asked is None or asked == served.name:
        return served.name, None
    name, colon, prompt = asked.rpartition(":")
    if not colon or name != served.name:
        raise Refused(
            404,
            f"{asked!r} is not here; this server has {served.name!r}, also with a colon and the name of a "
            f"prompt: {', '.join(served.prompts)}.",
            field="model",
        )
    return asked, prompt


def _named(task: str | None, side: str | None) -> str | None:
    if task is None and side is None:
        return None
    if side is None:
        raise Refused(
            422, f"task {task!r} has two sides: pass side as well, {' or '.join(SIDES)}.", field="side"
        )
    if side not in SIDES:
        raise Refused(422, f"{side!r} is not a side of a task: pass {' or '.join(SIDES)}.", field="side")
    if task is None:
        raise Refused(
            422,
            f"side {side!r} belongs to a task: pass task as well, one of {', '.join(TASKS)}.",
            field="task",
        )
    try:
        return prompt_name(task, "query" if side == "query" else "document")
    except ValueError as error:
        raise Refused(422, str(error), field="task") from error


def _base64(row: Vectors) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
