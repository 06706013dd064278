"""What a request wants, whatever its shape: the fields of a body, read one by one."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from codequarry.integrations.serve.encoder import Served
from codequarry.integrations.serve.limits import Limits
from codequarry.integrations.serve.refused import Refused


@dataclass(frozen=True)
class Wanted:
    """One request, understood.

    prompt_name: one of the model's. dims: numbers a vector.
    normalize: bring vectors to length 1 after the cut to `dims`.
    truncate: cut texts that are too long; False refuses them.
    model: what the client called the model, to be said back to it.
    base64: vectors as the base64 of their little-endian float32 bytes, not as lists.
    """

    texts: tuple[str, ...]
    prompt_name: str
    dims: int
    normalize: bool = True
    truncate: bool = True
    model: str = ""
    base64: bool = False


@dataclass(frozen=True)
class Rules:
    """What requests are read against. default_prompt: of requests that name none; None refuses them."""

    served: Served
    limits: Limits
    default_prompt: str | None = None

    def prompt(self, name: str | None, how: str) -> str:
        """The prompt called `name`, or the default one.

        Raises Refused, 422, for an unknown name, and for none where there is no default; `how` says where
        clients of this shape put it.
        """
        names = ", ".join(self.served.prompts)
        if name is None:
            if self.default_prompt is None:
                raise Refused(
                    422,
                    "no prompt was named, and this model embeds a text behind the prompt of its task and "
                    f"side: {how} The prompts are {names}.",
                )
            return self.default_prompt
        if name not in self.served.prompts:
            raise Refused(422, f"{name!r} is not a prompt of this model. The prompts are {names}.")
        return name


def refuse_unknown(body: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise Refused, 422, for a field that means nothing here: a misspelt `side` must not go unnoticed."""
    for name in body:
        if name not in known:
            raise Refused(422, f"{name!r} is not a field of this request: {', '.join(known)}.", field=name)


def texts_of(body: Mapping[str, Any], field: str, limits: Limits) -> tuple[str, ...]:
    """The texts in `body[field]`, a text or a list of texts.

    Raises Refused: 413 for too many or too long, 422 for none, an empty one, and one that is no text.
    """
    value = body.get(field)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        what = f"is {_kind(value)}" if field in body else "is missing"
        raise Refused(422, f"{field} {what}; it has to be a text or a list of texts.", field=field)
    if not texts:
        raise Refused(422, f"{field} is an empty list: send at least one text.", field=field)
    if any(_is_number(text) or (isinstance(text, list) and all(map(_is_number, text))) for text in texts):
        raise Refused(
            422,
            f"{field} holds token numbers; send text, because only this model's own tokenizer fits it "
            "(LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False).",
            field=field,
        )
    if len(texts) > limits.texts:
        raise Refused(
            413,
            f"{field} holds {len(texts)} texts; this server takes {limits.texts} a request. "
            "Send the others in another one.",
            field=field,
        )
    for position, text in enumerate(texts, start=1):
        which = f"text {position} of {len(texts)}"
        if not isinstance(text, str):
            raise Refused(422, f"{which} is {_kind(text)}, not a text.", field=field)
        if not text.strip():
            raise Refused(
                422, f"{which} is empty: its vector would be the prompt's own. Leave it out.", field=field
            )
        if len(text) > limits.characters:
            raise Refused(
                413,
                f"{which} has {len(text):,} characters; this server takes {limits.characters:,} a text.",
                field=field,
            )
    return tuple(_whole(text) for text in texts)


def dims_of(body: Mapping[str, Any], served: Served) -> int:
    """`body["dimensions"]`, or the full size; Refused, 422, unless vectors were trained to be cut there."""
    dims = body.get("dimensions")
    if dims is None:
        return served.dims[0]
    if not _is_number(dims) or dims not in served.dims:
        trained = ", ".join(map(str, served.dims))
        raise Refused(
            422,
            f"dimensions {dims!r} is not among the trained ones ({trained}): pass one of these.",
            field="dimensions",
        )
    return int(dims)


def flag_of(body: Mapping[str, Any], field: str) -> bool:
    """`body[field]`, true where it is absent or null; Refused, 422, for anything but true and false."""
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise Refused(422, f"{field} is {value!r}: pass true or false.", field=field)
    return value is not False


def text_field(body: Mapping[str, Any], field: str) -> str | None:
    """`body[field]`, None where it is absent or null; Refused, 422, for anything but a string."""
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise Refused(422, f"{field} is {_kind(value)}; it has to be a string.", field=field)
    return value


def _whole(text: str) -> str:
    # JSON may spell half a surrogate pair ("\ud83d"), which no tokenizer takes.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
