"""A request of any API: the limits it has to keep, what it asks for, and why it is refused.

Imports no pydantic, so that `codequarry serve --help` works without it.
"""

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from codequarry.common.errors import UserError

if TYPE_CHECKING:
    from codequarry.inference.encoder import Served
    from codequarry.integrations.serve.token_ids import TokenIds


@dataclass(frozen=True)
class Limits:
    """How large requests may be and how many are taken at a time; beyond, they are refused with the number.

    body_bytes: of a request's body. texts: of one request, as many as OpenAI's own API takes.
    characters: of one text.
    requests: being read, waiting or answered at a time.
    connections: open from one address (of IPv6 from one /64 network); four times `requests` from all.
    queue_texts: that wait for the model at a time, over all requests.
    batch_texts: that share a forward pass.
    head_seconds: from a connection, or from the first byte of a further request, to the end of its head.
    body_seconds: from a body's first byte to its last. answer_seconds: for a client to read its answer.
    finish_seconds: for waiting requests once the server is stopping.

    Raises UserError for a number below 1, and for a request that would be larger than the queue.
    """

    body_bytes: int = 4 * 2**20
    texts: int = 2048
    characters: int = 100_000
    requests: int = 256
    connections: int = 256
    queue_texts: int = 4096
    batch_texts: int = 32
    head_seconds: float = 10
    body_seconds: float = 10
    answer_seconds: float = 60
    finish_seconds: float = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (value > 0 and math.isfinite(value)):
                raise UserError(
                    f"{field.name} {value} is no limit that a server could work with: pass 1 or more."
                )
        if self.texts > self.queue_texts:
            raise UserError(
                f"a request may hold {self.texts} texts, but only {self.queue_texts} may wait: such a "
                "request would never be taken. Raise the queue, or lower the texts of a request."
            )

    @property
    def all_connections(self) -> int:
        """Open connections, those of slow or silent clients included, of all addresses together."""
        return 4 * self.requests


class RequestError(Exception):
    """Why a request gets no vectors.

    status: of HTTP. sentence: what was given, what is expected, what to do.
    field: of the request's body that is wrong; None for none.
    retry_after: seconds after which the same request may succeed; None where it will not.
    """

    def __init__(
        self, status: int, sentence: str, *, field: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.field = field
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer that carries the sentence."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


@dataclass(frozen=True)
class RequestContext:
    """What requests are validated against.

    default_prompt: of requests that name none; None refuses them.
    token_ids: reads lists of token ids in place of texts; None refuses them.
    """

    served: "Served"
    limits: Limits
    default_prompt: str | None = None
    token_ids: "TokenIds | None" = None

    def refuse_unknown(self, name: str) -> None:
        """Raise RequestError, 422, for a name that is none of the model's prompts."""
        if name not in self.served.prompts:
            names = ", ".join(self.served.prompts)
            raise RequestError(422, f"{name!r} is not a prompt of this model. The prompts are {names}.")


@dataclass(frozen=True)
class Prompted:
    """One text as the model reads it: `prompt`, then `text`. raw: sent as it is, whatever it begins with."""

    prompt: str
    text: str

    @property
    def whole(self) -> str:
        """What is tokenised."""
        return self.prompt + self.text


@dataclass(frozen=True)
class EmbeddingRequest:
    """One validated request of any schema.

    texts: with their prompts. dims: dimensions of the vectors, one of the trained ones.
    as_sent: how many texts had their prompt already, and got no second one.
    normalize: bring vectors to length 1 after the cut to `dims`.
    truncate: cut texts that are too long; False refuses them.
    model: the model's name as the client wrote it, for the answer; "" where the schema has none.
    base64: vectors as the base64 of their little-endian float32 bytes, not as lists.
    compares: the first text is compared with each of the others.
    """

    texts: tuple[Prompted, ...]
    dims: int
    as_sent: int = 0
    normalize: bool = True
    truncate: bool = True
    model: str = ""
    base64: bool = False
    compares: bool = False

    def called(self, index: int) -> str:
        """How an error calls the text at `index`."""
        if not self.compares:
            return f"text {index + 1} of {len(self.texts)}"
        return f"sentence {index} of {len(self.texts) - 1}" if index else "source_sentence"
