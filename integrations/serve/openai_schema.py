"""OpenAI's API: `POST /v1/embeddings` and `GET /v1/models`.

A client that knows only OpenAI's fields names the prompt behind the model's name, `mini:nl2code_query`; one
that can send more (`extra_body` of the openai package) sends `prompt_name`, or `task` and `side`. Clients
made for the APIs of Cohere, Jina, NVIDIA and Voyage send `input_type` or a task with its side.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from codequarry.common.errors import UserError
from codequarry.inference.encoder import Served, Vectors
from codequarry.integrations.serve.prompts import with_prompts
from codequarry.integrations.serve.requests import EmbeddingRequest, RequestContext, RequestError
from codequarry.integrations.serve.schemas import (
    Body,
    Dimensions,
    Texts,
    as_base64,
    as_list,
    no_left_cut,
    with_other_names,
)
from codequarry.modules.tasks import SIDES, TASKS, Side, prompt_name

_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}

# What other APIs call the two sides: Voyage and NVIDIA, Cohere, Jina, Google.
_SIDES: Mapping[str, Side] = MappingProxyType(
    {
        "query": "query",
        "search_query": "query",
        "retrieval.query": "query",
        "retrieval_query": "query",
        "code_retrieval_query": "query",
        "document": "document",
        "passage": "document",
        "search_document": "document",
        "retrieval.passage": "document",
        "retrieval_document": "document",
    }
)

# What Jina's and Voyage's APIs call fields that are here under another name.
_NAMES = MappingProxyType(
    {
        "embedding_type": "encoding_format",
        "normalized": "normalize",
        "output_dimension": "dimensions",
        "truncation": "truncate",
    }
)


def _truncate(value: Any) -> Any:
    """NVIDIA's words for cutting as booleans."""
    value = no_left_cut(value, "truncate", "start")
    return {"NONE": False, "END": True}.get(value.upper(), value) if isinstance(value, str) else value


class OpenAIBody(Body):
    """`POST /v1/embeddings`: the body, where null is the same as absent but for `input`, and the answers."""

    model: str | None = Field(None, description="The model's name, also with a prompt's: mini:nl2code_query.")
    input: Texts = Field(description="A text, a list of texts, or token ids of the model's own tokenizer.")
    task: str | None = Field(None, description=f"One of {', '.join(TASKS)}, with side; or nl2code.query.")
    side: str | None = Field(None, description="query or document, with task.")
    prompt_name: str | None = Field(None, description="The prompt's name, such as nl2code_query.")
    input_type: str | None = Field(
        None, description="query or document, also in the words of other APIs; without task the default one."
    )
    raw: bool | None = Field(
        None, description="true: no prompt is put in front; false: always; absent: unless a text has one."
    )
    dimensions: Dimensions = Field(None, description="One of the trained dimensions.")
    encoding_format: Annotated[
        Literal["float", "base64"] | None, BeforeValidator(lambda value: None if value == "" else value)
    ] = Field(None, description="float (default) or base64.")
    output_dtype: Literal["float"] | None = Field(None, description="float, the only type there is.")
    normalize: bool | None = Field(None, description="Vectors of length 1 (default).")
    truncate: Annotated[bool | None, BeforeValidator(_truncate)] = Field(
        None, description="Cut texts that are too long (default), or refuse them. Also NONE or END."
    )
    user: Any = Field(None, description="Ignored.")

    @classmethod
    def renamed(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body with our names of Jina's and Voyage's fields."""
        return with_other_names(body, _NAMES)

    def request(self, context: RequestContext) -> EmbeddingRequest:
        """The request. Raises RequestError: 404 for another model, 422 for a prompt that is not clear."""
        model, behind_name = _split_model(self.model, context.served)
        how = f'pass prompt_name, or name the model with its prompt, "{context.served.name}:nl2code_query".'
        texts, as_sent = with_prompts(
            self.input, self._prompt(behind_name), self.raw, context, field="input", how=how
        )
        return EmbeddingRequest(
            texts,
            self.dimensions or context.served.dims[0],
            as_sent,
            normalize=self.normalize is not False,
            truncate=self.truncate is not False,
            model=model,
            base64=self.encoding_format == "base64",
        )

    def _prompt(self, behind_name: str | None) -> str | None:
        """The name of the prompt that all fields together ask for; None for none."""
        named_task = self.task or ""
        task, dotted, side_of_task = named_task.partition(".")
        side = _side_of(self.input_type, "input_type")
        if dotted and named_task in _SIDES:  # Jina's retrieval.query: a side, and no task of ours
            side, task = _agreed(side, _SIDES[named_task], "task"), ""
        elif dotted:
            side = _agreed(side, _side_of(side_of_task, "task"), "task")
        if self.side is not None:
            if self.side not in SIDES:
                raise RequestError(
                    422, f"{self.side!r} is not a side of a task: pass {' or '.join(SIDES)}.", field="side"
                )
            side = _agreed(side, "query" if self.side == "query" else "document", "side")
        named = {"the model's name": behind_name, "prompt_name": self.prompt_name}
        if task:
            named["task and side"] = _prompt_of(task, side)
        elif side and not any(named.values()):
            if self.side is not None:
                raise RequestError(
                    422,
                    f"side {side!r} belongs to a task: pass task as well, one of {', '.join(TASKS)}.",
                    field="task",
                )
            return side
        asked = {where: name for where, name in named.items() if name}
        if len(set(asked.values())) > 1:
            said = ", ".join(f"{where} asks for {name}" for where, name in asked.items())
            raise RequestError(422, f"{said}: name one.")
        name = next(iter(asked.values()), None)
        if name and side and name != side and not name.endswith(f"_{side}"):
            raise RequestError(422, f"{name} is named, and the side {side}: drop one.", field="input_type")
        return self.prompt_name if name is None else name

    @staticmethod
    def answer(request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int]) -> bytes:
        """The JSON of OpenAI's answer. Vectors `(texts, dims)`; `prompt_tokens` is what the model read."""
        shown = as_base64 if request.base64 else as_list
        rows = ", ".join(
            f'{{"object": "embedding", "index": {index}, "embedding": {shown(row)}}}'
            for index, row in enumerate(vectors)
        )
        total = sum(tokens)
        usage = json.dumps({"prompt_tokens": total, "total_tokens": total})
        return (
            f'{{"object": "list", "model": {json.dumps(request.model)}, "usage": {usage}, "data": [{rows}]}}'
        ).encode()

    @staticmethod
    def error(error: RequestError) -> dict[str, Any]:
        """OpenAI's error object."""
        return {
            "error": {
                "message": error.sentence,
                "type": "server_error" if error.status >= 500 else "invalid_request_error",
                "param": error.field,
                "code": _CODES.get(error.status),
            }
        }


def openai_models(served: Served) -> dict[str, Any]:
    """The list of models: the one that is served, by its name and by its name with each prompt."""
    names = [served.name, *(f"{served.name}:{prompt}" for prompt in served.prompts)]
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "codequarry"} for name in names],
    }


def openai_model(name: str, served: Served) -> dict[str, Any]:
    """The model called `name`. Raises RequestError, 404, for any other."""
    for model in openai_models(served)["data"]:
        if model["id"] == name:
            return dict(model)
    raise _not_here(name, served)


def _not_here(asked: str, served: Served) -> RequestError:
    return RequestError(
        404,
        f"{asked[:200]!r} is not here; this server has {served.name!r}, also with a colon and the name of a "
        f"prompt: {', '.join(served.prompts)}.",
        field="model",
    )


def _split_model(asked: str | None, served: Served) -> tuple[str, str | None]:
    """The model's name as it was written, and the prompt behind its colon."""
    if asked is None or asked == served.name:
        return served.name, None
    name, colon, prompt = asked.rpartition(":")
    if not colon or name != served.name:
        raise _not_here(asked, served)
    return asked, prompt


def _side_of(value: str | None, field: str) -> Side | None:
    if not value:
        return None
    side = _SIDES.get(value.lower())
    if side is None:
        raise RequestError(
            422,
            f"{field} {value[:80]!r} is not a side of a search: pass query or document.",
            field=field,
        )
    return side


def _agreed(side: Side | None, other: Side | None, field: str) -> Side | None:
    if side and other and side != other:
        raise RequestError(422, f"{field} says {other}, and another field {side}: drop one.", field=field)
    return side or other


def _prompt_of(task: str, side: Side | None) -> str:
    """The prompt's name of a task and a side."""
    if side is None:
        raise RequestError(
            422, f"task {task[:80]!r} has two sides: pass side as well, {' or '.join(SIDES)}.", field="side"
        )
    try:
        return prompt_name(task, side)
    except UserError as error:
        raise RequestError(422, str(error), field="task") from error
