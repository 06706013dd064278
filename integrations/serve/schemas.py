"""The schemas of both APIs: the bodies of requests, answers and errors.

`POST /v1/embeddings` and `GET /v1/models` have OpenAI's schema. A client that knows only OpenAI's fields
names the prompt behind the model's name, `mini:nl2code_query`; one that can send more (`extra_body` of the
openai package) sends `task` and `side`.

`POST /embed` has the schema of Hugging Face's text-embeddings-inference (TEI), version 1.9, with one
difference: there a request without `prompt_name` is embedded without a prompt. Here, by either schema, a
request that names no prompt is refused, unless the server was started with a default one.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, model_validator

from codequarry.common.errors import UserError
from codequarry.inference.encoder import Served, Vectors
from codequarry.integrations.serve.requests import EmbeddingRequest, RequestContext, RequestError
from codequarry.modules.tasks import SIDES, TASKS, prompt_name

_TEI_TYPES = {429: "Overloaded", 500: "Backend", 503: "Unhealthy"}
_OPENAI_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def _texts(value: Any, info: ValidationInfo) -> tuple[str, ...]:
    """The texts of a text or a list of texts.

    Counts and lengths are checked here and not by pydantic, which would collect an error for each text of a
    list of millions. A RequestError passes through pydantic as it is, because it is no ValueError.

    Raises RequestError: 413 for too many or too long, 422 for none, an empty one, and one that is no text.
    """
    limits, field = cast(RequestContext, info.context).limits, info.field_name
    texts = [value] if isinstance(value, str) else value

    def refused(status: int, sentence: str) -> RequestError:
        return RequestError(status, sentence, field=field)

    if not isinstance(texts, list):
        raise refused(422, f"{field} is {kind_of(value)}; it has to be a text or a list of texts.")
    if not texts:
        raise refused(422, f"{field} is an empty list: send at least one text.")
    if any(_is_number(text) or (isinstance(text, list) and all(map(_is_number, text))) for text in texts):
        raise refused(
            422,
            f"{field} holds token numbers; send text, because only this model's own tokenizer fits it "
            "(LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False).",
        )
    if len(texts) > limits.texts:
        raise refused(
            413,
            f"{field} holds {len(texts)} texts; this server takes {limits.texts} a request. "
            "Send the others in another one.",
        )
    for position, text in enumerate(texts, start=1):
        which = f"text {position} of {len(texts)}"
        if not isinstance(text, str):
            raise refused(422, f"{which} is {kind_of(text)}, not a text.")
        if not text.strip():
            raise refused(422, f"{which} is empty: its vector would be the prompt's own. Leave it out.")
        if len(text) > limits.characters:
            raise refused(
                413, f"{which} has {len(text):,} characters; this server takes {limits.characters:,} a text."
            )
    # JSON may spell half a surrogate pair ("\ud83d"), which no tokenizer takes.
    return tuple(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts)


def _dimensions(value: Any, info: ValidationInfo) -> int | None:
    """One of the trained dimensions, or None. Raises RequestError, 422, for any other value."""
    dims = cast(RequestContext, info.context).served.dims
    if value is not None and (not _is_number(value) or value not in dims):
        trained = ", ".join(map(str, dims))
        raise RequestError(
            422,
            f"dimensions {value!r} is not among the trained ones ({trained}): pass one of these.",
            field="dimensions",
        )
    return None if value is None else int(value)


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Dimensions = Annotated[int | None, BeforeValidator(_dimensions)]  # None: all of them


class _Body(BaseModel):
    """A request body. Values are of their JSON type exactly: "no" is not false, and 1 is not true."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        # Before the fields: a misspelt `side` would otherwise be reported as a missing one, and pydantic's
        # own `extra="forbid"` collects an error for each of a million unknown fields.
        for name in body:
            if name not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise RequestError(422, f"{name!r} is not a field of this request: {known}.", field=name)
        return body


class OpenAIBody(_Body):
    """`POST /v1/embeddings`: the body, where null is the same as absent but for `input`, and the answers."""

    model: str | None = None
    input: Texts
    task: str | None = None
    side: str | None = None
    dimensions: Dimensions = None
    encoding_format: Annotated[
        Literal["float", "base64"] | None, BeforeValidator(lambda value: None if value == "" else value)
    ] = None
    user: Any = None

    def request(self, context: RequestContext) -> EmbeddingRequest:
        """The request. Raises RequestError: 404 for another model, 422 for a prompt that is not clear."""
        model, behind_name = _split_model(self.model, context.served)
        name = _prompt_of(self.task, self.side)
        if name and behind_name and name != behind_name:
            raise RequestError(
                422, f"the model's name asks for {behind_name}, task and side for {name}: name one."
            )
        how = f'pass task and side, or name the model with its prompt, "{context.served.name}:nl2code_query".'
        return EmbeddingRequest(
            prompt_name=context.prompt(name or behind_name, how),
            texts=self.input,
            dims=self.dimensions or context.served.dims[0],
            model=model,
            base64=self.encoding_format == "base64",
        )

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
                "code": _OPENAI_CODES.get(error.status),
            }
        }


class TEIBody(_Body):
    """`POST /embed`: the body, where null is the same as absent but for `inputs`, and the answers."""

    inputs: Texts
    prompt_name: str | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Annotated[
        Literal["right"] | None,
        BeforeValidator(lambda value: value.lower() or None if isinstance(value, str) else value),
    ] = None
    dimensions: Dimensions = None

    def request(self, context: RequestContext) -> EmbeddingRequest:
        """The request. Raises RequestError, 422, for a prompt that the model does not have."""
        return EmbeddingRequest(
            prompt_name=context.prompt(self.prompt_name, 'pass prompt_name, such as "nl2code_query".'),
            texts=self.inputs,
            dims=self.dimensions or context.served.dims[0],
            normalize=self.normalize is not False,
            truncate=self.truncate is not False,
        )

    @staticmethod
    def answer(request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int]) -> bytes:
        """The JSON of TEI's answer: a list of vectors `(texts, dims)`."""
        return f"[{', '.join(as_list(row) for row in vectors)}]".encode()

    @staticmethod
    def error(error: RequestError) -> dict[str, Any]:
        """TEI's error object."""
        return {"error": error.sentence, "error_type": _TEI_TYPES.get(error.status, "Validation")}


Schema = type[OpenAIBody] | type[TEIBody]


def read_request(schema: Schema, body: Mapping[str, Any], context: RequestContext) -> EmbeddingRequest:
    """What a body of the schema asks for.

    Raises RequestError, with a sentence and the field that is wrong: 413 beyond the limits, 404 for another
    model, else 422.

    >>> read_request(TEIBody, {"inputs": "parse a date", "prompt_name": "nl2code_query"}, context).texts
    ('parse a date',)
    """
    try:
        return schema.model_validate(body, context=context).request(context)
    except ValidationError as error:
        raise _in_a_sentence(error) from error


def _in_a_sentence(error: ValidationError) -> RequestError:
    """The first problem that pydantic found."""
    problem = error.errors(include_url=False)[0]
    field, value = str(problem["loc"][0]), problem["input"]
    shown = repr(value) if isinstance(value, str | bool | int | float) else kind_of(value)
    match problem["type"]:
        case "missing":
            sentence = f"{field} is missing; it has to be a text or a list of texts."
        case "string_type":
            sentence = f"{field} is {kind_of(value)}; it has to be a string."
        case "bool_type":
            sentence = f"{field} is {shown}: pass true or false."
        case "literal_error" if field == "truncation_direction" and isinstance(value, str):
            sentence = f"{field} {shown} would cut the prompt off first: only 'right' is offered."
        case "literal_error":
            expected = problem["ctx"]["expected"].replace("'", "")  # 'float' or 'base64'
            sentence = f"{field} is {shown}: pass {expected}."
        case _:
            sentence = f"{field} is {shown}: {problem['msg']}."
    return RequestError(422, sentence, field=field)


def openai_models(served: Served) -> dict[str, Any]:
    """The list of models: the one that is served, by its name and by its name with each prompt."""
    names = [served.name, *(f"{served.name}:{prompt}" for prompt in served.prompts)]
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "codequarry"} for name in names],
    }


def as_list(row: Vectors) -> str:
    """A vector as a JSON list. Nine digits bring a float32 back exactly, at half the length of a float64."""
    return f"[{', '.join(f'{number:.9g}' for number in row.tolist())}]"


def as_base64(row: Vectors) -> str:
    """A vector as a JSON string, the base64 of its little-endian float32 bytes."""
    return f'"{base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")}"'


def _split_model(asked: str | None, served: Served) -> tuple[str, str | None]:
    """The model's name as it was written, and the prompt behind its colon."""
    if asked is None or asked == served.name:
        return served.name, None
    name, colon, prompt = asked.rpartition(":")
    if not colon or name != served.name:
        raise RequestError(
            404,
            f"{asked!r} is not here; this server has {served.name!r}, also with a colon and the name of a "
            f"prompt: {', '.join(served.prompts)}.",
            field="model",
        )
    return asked, prompt


def _prompt_of(task: str | None, side: str | None) -> str | None:
    """The prompt's name of a task and a side; None for neither."""
    if task is None and side is None:
        return None
    if side is None:
        raise RequestError(
            422, f"task {task!r} has two sides: pass side as well, {' or '.join(SIDES)}.", field="side"
        )
    if side not in SIDES:
        raise RequestError(422, f"{side!r} is not a side of a task: pass {' or '.join(SIDES)}.", field="side")
    if task is None:
        raise RequestError(
            422,
            f"side {side!r} belongs to a task: pass task as well, one of {', '.join(TASKS)}.",
            field="task",
        )
    try:
        return prompt_name(task, "query" if side == "query" else "document")
    except UserError as error:
        raise RequestError(422, str(error), field="task") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def kind_of(value: Any) -> str:
    """The JSON type of a value, with its article."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
