"""A request that is not answered with vectors: the status, and the sentence for whoever sent it."""


class Refused(Exception):
    """Why a request gets no vectors.

    status: of HTTP. sentence: what was given, what is expected, what to do.
    field: of the request's body, where one is to blame.
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
        """What goes out beside the sentence."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
