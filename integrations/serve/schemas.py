"""What the schemas of all APIs share: how texts, dimensions and choices are read, and vectors written.

Values are of their JSON type exactly, unknown fields are refused, and what is wrong is a sentence.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from codequarry.inference.encoder import Vectors
from codequarry.integrations.serve.requests import EmbeddingRequest, RequestContext, RequestError

_CHARACTERS_A_TOKEN = 4  # of code and English, about; ids are limited by it before they are spelt out


def read_texts(value: Any, context: RequestContext, field: str) -> tuple[str, ...]:
    """The texts of a text, a list of texts, or one or more lists of token ids.

    Counts and lengths are checked here and not by pydantic, which would collect an error for each text of a
    list of millions. A RequestError passes through pydantic as it is, because it is no ValueError.

    Raises RequestError: 413 for too many or too long, 422 for none, a blank one, one that is no text, and
    token ids that are not ours.
    """
    limits = context.limits
    texts = [value] if isinstance(value, str) else value

    def refused(status: int, sentence: str) -> RequestError:
        return RequestError(status, sentence, field=field)

    if not isinstance(texts, list):
        raise refused(422, f"{field} is {kind_of(value)}; it has to be a text or a list of texts.")
    if not texts:
        raise refused(422, f"{field} is an empty list: send at least one text.")
    if _are_ids(texts):
        texts = [texts]
    if len(texts) > limits.texts:
        raise refused(
            413,
            f"{field} holds {len(texts)} texts; this server takes {limits.texts} a request. "
            "Send the others in another one.",
        )
    read = []
    for position, text in enumerate(texts, start=1):
        which = f"text {position} of {len(texts)}"
        if _are_ids(text):
            if context.token_ids is None:
                raise refused(422, f"{which} is a list of token ids; this server takes text only.")
            most = max(1, limits.characters // _CHARACTERS_A_TOKEN)
            if len(text) > most:
                raise refused(413, f"{which} has {len(text):,} token ids; this server takes {most:,} a text.")
            text = context.token_ids.text(text, which, field)
        read.append(read_text(text, which, context, field))
    return tuple(read)


def read_text(text: Any, which: str, context: RequestContext, field: str) -> str:
    """One text; `which` begins the sentences. Raises RequestError as `read_texts` does."""

    def refused(status: int, sentence: str) -> RequestError:
        return RequestError(status, f"{which} {sentence}", field=field)

    if not isinstance(text, str):
        raise refused(422, f"is {kind_of(text)}, not a text.")
    if not text.strip():
        raise refused(422, "is empty: its vector would be the prompt's own. Leave it out.")
    if len(text) > context.limits.characters:
        raise refused(
            413, f"has {len(text):,} characters; this server takes {context.limits.characters:,} a text."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON may spell half a surrogate pair: "\ud83d"
        raise refused(
            422,
            f"has half a surrogate pair at character {error.start + 1}, which no tokenizer takes: it is one "
            "half of an emoji or the like. Send both halves, or neither.",
        ) from error
    return text


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _dimensions(value: Any, info: ValidationInfo) -> int | None:
    """One of the trained dimensions, or None. Raises RequestError, 422, for any other value."""
    dims = cast(RequestContext, info.context).served.dims
    if value is not None and (not _is_number(value) or value not in dims):
        trained = ", ".join(map(str, dims))
        shown = value if isinstance(value, bool | float) or _is_short(value) else kind_of(value)
        raise RequestError(
            422,
            f"dimensions {shown!r} is not among the trained ones ({trained}): pass one of these.",
            field="dimensions",
        )
    return None if value is None else int(value)


def _is_short(value: Any) -> bool:
    return isinstance(value, str | int) and len(str(value)) < 80


def no_left_cut(value: Any, field: str, left: str) -> Any:
    """`value` with an empty string as null. Raises RequestError, 422, for `left`, which cuts there."""
    if isinstance(value, str) and value.lower() == left:
        raise RequestError(
            422, f"{field} {value!r} would cut the prompt off first: only the end is cut.", field=field
        )
    return value or None if isinstance(value, str) else value


_TEXTS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    ]
}

Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(
        lambda value, info: read_texts(value, cast(RequestContext, info.context), str(info.field_name))
    ),
    WithJsonSchema(_TEXTS_SCHEMA),
]
Dimensions = Annotated[int | None, BeforeValidator(_dimensions)]  # None: all of them


class Body(BaseModel):
    """A request body. Values are of their JSON type exactly: "no" is not false, and 1 is not true."""

    model_config = ConfigDict(strict=True, frozen=True)

    def request(self, context: RequestContext) -> EmbeddingRequest:
        """What the body asks for. Raises RequestError for what contradicts itself."""
        raise NotImplementedError

    @staticmethod
    def answer(request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int]) -> bytes:
        """The JSON of the answer. Vectors `(texts, dims)`; tokens that the model read of each."""
        raise NotImplementedError

    @staticmethod
    def error(error: RequestError) -> dict[str, Any]:
        """The error object."""
        raise NotImplementedError

    @classmethod
    def renamed(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body with the fields' own names, where a schema has others for them too."""
        return body

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        # Before the fields: a misspelt `side` would otherwise be reported as a missing one, and pydantic's
        # own `extra="forbid"` collects an error for each of a million unknown fields.
        body = cls.renamed(body)
        for name in body:
            if name not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise RequestError(
                    422, f"{name[:80]!r} is not a field of this request: {known}.", field=name[:80]
                )
        return body


def with_other_names(body: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`body` with each field under its name of `names`. Raises RequestError where both names have a value."""
    own = dict(body)
    for other, name in names.items():
        if other in own:
            value = own.pop(other)
            if value is None:
                continue
            if own.get(name) not in (None, value):
                raise RequestError(422, f"{other} and {name} are the same field: pass one.", field=other)
            own[name] = value
    return own


def read_request(schema: type[Body], body: Mapping[str, Any], context: RequestContext) -> EmbeddingRequest:
    """What a body of the schema asks for.

    Raises RequestError, with a sentence and the field that is wrong: 413 beyond the limits, 404 for another
    model, else 422.

    >>> body = {"inputs": "parse a date", "prompt_name": "nl2code_query"}
    >>> read_request(TEIBody, body, context).texts[0].text
    'parse a date'
    """
    try:
        return schema.model_validate(body, context=context).request(context)
    except ValidationError as error:
        raise _in_a_sentence(error) from error


def _in_a_sentence(error: ValidationError) -> RequestError:
    """The first problem that pydantic found."""
    problem = error.errors(include_url=False)[0]
    field, value = str(problem["loc"][0]), problem["input"]
    plain = isinstance(value, bool | float) or _is_short(value)
    shown = repr(value) if plain else kind_of(value)
    match problem["type"]:
        case "missing":
            sentence = f"{field} is missing; it has to be a text or a list of texts."
        case "string_type":
            sentence = f"{field} is {kind_of(value)}; it has to be a string."
        case "bool_type":
            sentence = f"{field} is {shown}: pass true or false."
        case "literal_error":
            expected = problem["ctx"]["expected"].replace("'", "")  # 'float' or 'base64'
            sentence = f"{field} is {shown}: pass {expected}."
        case _:
            sentence = f"{field} is {shown}: {problem['msg']}."
    return RequestError(422, sentence, field=field)


def as_list(row: Vectors) -> str:
    """A vector as a JSON list. Nine digits bring a float32 back exactly, at half the length of a float64."""
    return f"[{', '.join(f'{number:.9g}' for number in row.tolist())}]"


def as_base64(row: Vectors) -> str:
    """A vector as a JSON string, the base64 of its little-endian float32 bytes."""
    return f'"{base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")}"'


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def kind_of(value: Any) -> str:
    """The JSON type of a value, with its article."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
