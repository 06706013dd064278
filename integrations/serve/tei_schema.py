"""The API of Hugging Face's text-embeddings-inference (TEI) 1.9: `POST /embed`, `/similarity` and `/`.

`POST /` is what `huggingface_hub.InferenceClient` sends for `feature_extraction` and `sentence_similarity`.
One difference: with TEI a request without `prompt_name` is embedded without a prompt. Here it is refused,
unless the texts bring their prompts, or the server was started with a default one.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from codequarry.common.errors import UserError
from codequarry.inference.encoder import Vectors, unit_vectors
from codequarry.integrations.serve.prompts import with_prompts
from codequarry.integrations.serve.requests import EmbeddingRequest, RequestContext, RequestError
from codequarry.integrations.serve.schemas import (
    Body,
    Dimensions,
    Texts,
    as_list,
    kind_of,
    no_left_cut,
    read_text,
    read_texts,
    with_other_names,
)
from codequarry.modules.tasks import prompt_name

_TYPES = {429: "Overloaded", 500: "Backend", 503: "Unhealthy"}
_HOW = 'pass prompt_name, such as "nl2code_query".'


def _direction(value: Any) -> Any:
    value = no_left_cut(value, "truncation_direction", "left")
    return value.lower() if isinstance(value, str) else value


class _TEIBody(Body):
    prompt_name: str | None = Field(None, description="The prompt's name, such as nl2code_query.")
    raw: bool | None = Field(
        None, description="true: no prompt is put in front; false: always; absent: unless a text has one."
    )
    truncate: bool | None = Field(
        None, description="Cut texts that are too long (default), or refuse them with their length."
    )
    truncation_direction: Annotated[Literal["right"] | None, BeforeValidator(_direction)] = Field(
        None, description="right, the only one there is."
    )

    @classmethod
    def renamed(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body with the fields of `parameters` beside `inputs`: clients send them at either place."""
        parameters = body.get("parameters")
        if parameters is None:
            return {name: value for name, value in body.items() if name != "parameters"}
        if not isinstance(parameters, dict):
            sentence = f"parameters is {kind_of(parameters)}; it has to be an object."
            raise RequestError(422, sentence, field="parameters")
        own = {name: value for name, value in body.items() if name != "parameters"}
        if "inputs" in parameters:
            raise RequestError(422, "inputs belongs beside parameters, not into it.", field="inputs")
        for name, value in parameters.items():
            own = with_other_names(own | {f"parameters.{name}": value}, {f"parameters.{name}": name})
        return own

    @staticmethod
    def error(error: RequestError) -> dict[str, Any]:
        """TEI's error object."""
        return {"error": error.sentence, "error_type": _TYPES.get(error.status, "Validation")}


class TEIBody(_TEIBody):
    """`POST /embed` and `POST /`: the body, where null is absent but for `inputs`, and the answer."""

    inputs: Texts = Field(description="A text, a list of texts, or token ids of the model's own tokenizer.")
    normalize: bool | None = Field(None, description="Vectors of length 1 (default).")
    dimensions: Dimensions = Field(None, description="One of the trained dimensions.")
    encoding_format: Literal["float"] | None = Field(None, description="float; base64 is OpenAI's.")

    def request(self, context: RequestContext) -> EmbeddingRequest:
        """The request. Raises RequestError, 422, for a prompt that the model does not have."""
        texts, as_sent = with_prompts(
            self.inputs, self.prompt_name, self.raw, context, field="inputs", how=_HOW
        )
        return EmbeddingRequest(
            texts,
            self.dimensions or context.served.dims[0],
            as_sent,
            normalize=self.normalize is not False,
            truncate=self.truncate is not False,
        )

    @staticmethod
    def answer(request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int]) -> bytes:
        """The JSON of TEI's answer: a list of vectors `(texts, dims)`."""
        return f"[{', '.join(as_list(row) for row in vectors)}]".encode()


def _sentences(value: Any, info: ValidationInfo) -> tuple[str, ...]:
    """The source sentence and those that it is compared with."""
    context = cast(RequestContext, info.context)
    expected = "inputs has to be an object of source_sentence (a text) and sentences (a list of texts)"
    if not isinstance(value, dict):
        raise RequestError(422, f"inputs is {kind_of(value)}; {expected}.", field="inputs")
    for name in value:
        if name not in ("source_sentence", "sentences"):
            raise RequestError(422, f"{name[:80]!r} is not a field of inputs; {expected}.", field="inputs")
    source, sentences = value.get("source_sentence"), value.get("sentences")
    if not isinstance(source, str) or not isinstance(sentences, list):
        raise RequestError(422, f"{expected}.", field="inputs")
    if len(sentences) >= context.limits.texts:
        raise RequestError(
            413,
            f"inputs holds {len(sentences)} sentences; this server takes {context.limits.texts - 1} a "
            "request with their source. Send the others in another one.",
            field="inputs",
        )
    return (
        read_text(source, "source_sentence", context, "inputs"),
        *read_texts(sentences, context, "sentences"),
    )


_SENTENCES_SCHEMA = {
    "type": "object",
    "required": ["source_sentence", "sentences"],
    "properties": {
        "source_sentence": {"type": "string"},
        "sentences": {"type": "array", "items": {"type": "string"}},
    },
}


class SimilarityBody(_TEIBody):
    """`POST /similarity`, and `POST /` where inputs has a source_sentence: the body and the answer.

    The source is embedded as a query and the sentences as documents, of the default task or of `task`;
    `prompt_name` puts one prompt in front of all.
    """

    inputs: Annotated[tuple[str, ...], BeforeValidator(_sentences), WithJsonSchema(_SENTENCES_SCHEMA)] = (
        Field(description="An object of source_sentence, a text, and sentences, a list of texts.")
    )
    task: str | None = Field(
        None, description="Whose query and document prompts are used; without the default."
    )

    def request(self, context: RequestContext) -> EmbeddingRequest:
        """The request. Raises RequestError, 422, for a task or prompt that the model does not have."""
        if self.prompt_name and self.task:
            raise RequestError(422, "task and prompt_name are both given: drop one.", field="task")
        try:
            sides = (
                ("query", "document")
                if not self.task
                else (prompt_name(self.task, "query"), prompt_name(self.task, "document"))
            )
        except UserError as error:
            raise RequestError(422, str(error), field="task") from error
        query, document = (None, None) if self.raw else sides
        source, had = with_prompts(
            self.inputs[:1], self.prompt_name or query, self.raw, context, field="inputs", how=_HOW
        )
        others, others_had = with_prompts(
            self.inputs[1:], self.prompt_name or document, self.raw, context, field="inputs", how=_HOW
        )
        return EmbeddingRequest(
            (*source, *others),
            context.served.dims[0],
            had + others_had,
            truncate=self.truncate is not False,
            compares=True,
        )

    @staticmethod
    def answer(request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int]) -> bytes:
        """The JSON of TEI's answer: the cosine of the source with each sentence."""
        unit = unit_vectors(vectors)
        return as_list(unit[1:] @ unit[0]).encode()
