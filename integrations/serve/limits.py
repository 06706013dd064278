"""How large requests may be and how many may wait; imports no pydantic, for --help."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """How large requests may be and how many are taken at a time; beyond, they are refused with the number.

    body_bytes: of a request's body. body_seconds: from its first byte to its last.
    texts: of one request. characters: of one text.
    requests: being read, waiting or answered at a time.
    queue_texts: that wait for the model at a time, over all requests.
    batch_texts: that share a forward pass.
    finish_seconds: for what is waiting when the server is told to stop.

    Raises ValueError for a number below 1, and for a request that would be larger than the queue.
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
                raise ValueError(
                    f"{field.name} {value} is no limit that a server could work with: pass 1 or more."
                )
        if self.texts > self.queue_texts:
            raise ValueError(
                f"a request may hold {self.texts} texts, but only {self.queue_texts} may wait: such a "
                "request would never be taken. Raise the queue, or lower the texts of a request."
            )
