"""A request of either API: the limits it has to keep, what it asks for, and why it is refused.

Imports no pydantic, so that `codequarry serve --help` works without it.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from codequarry.common.errors import UserError

if TYPE_CHECKING:
    from codequarry.inference.encoder import Served


@dataclass(frozen=True)
class Limits:
    """How large requests may be and how many are taken at a time; beyond, they are refused with the number.

    body_bytes: of a request's body. body_seconds: from its first byte to its last.
    texts: of one request. characters: of one text.
    requests: being read, waiting or answered at a time.
    queue_texts: that wait for the model at a time, over all requests.
    batch_texts: that share a forward pass.
    finish_seconds: for waiting requests once the server is stopping.

    Raises UserError for a number below 1, and for a request that would be larger than the queue.
    """

    body_bytes: int = 4 * 2**20
    body_seconds: float = 10
    texts: int = 1024
    characters: int = 100_000
    requests: int = 256
    queue_texts: int = 4096
    batch_texts: int = 32
    finish_seconds: float = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise UserError(
                    f"{field.name} {value} is no limit that a server could work with: pass 1 or more."
                )
        if self.texts > self.queue_texts:
            raise UserError(
                f"a request may hold {self.texts} texts, but only {self.queue_texts} may wait: such a "
                "request would never be taken. Raise the queue, or lower the texts of a request."
            )


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
    """What requests are validated against. default_prompt: of requests that name none; None refuses them."""

    served: "Served"
    limits: Limits
    default_prompt: str | None = None

    def prompt(self, name: str | None, how: str) -> str:
        """The prompt called `name`, or the default one.

        Raises RequestError, 422, for an unknown name, and for None where there is no default; `how` says
        where clients of this schema put it.
        """
        names = ", ".join(self.served.prompts)
        name = self.default_prompt if name is None else name
        if name is None:
            raise RequestError(
                422,
                "no prompt was named, and this model embeds a text behind the prompt of its task and "
                f"side: {how} The prompts are {names}.",
            )
        if name not in self.served.prompts:
            raise RequestError(422, f"{name!r} is not a prompt of this model. The prompts are {names}.")
        return name


@dataclass(frozen=True)
class EmbeddingRequest:
    """One validated request of either schema.

    prompt_name: one of the model's. dims: dimensions of the vectors, one of the trained ones.
    normalize: bring vectors to length 1 after the cut to `dims`.
    truncate: cut texts that are too long; False refuses them.
    model: the model's name as the client wrote it, for the answer; "" where the schema has none.
    base64: vectors as the base64 of their little-endian float32 bytes, not as lists.
    """

    texts: tuple[str, ...]
    prompt_name: str
    dims: int
    normalize: bool = True
    truncate: bool = True
    model: str = ""
    base64: bool = False
