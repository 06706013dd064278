"""What the Hub refuses, as a sentence without secrets."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

# Permissions of a fine-grained token, in the words of the Hub's token page.
WRITE = "write access to contents and settings of its repositories"
DISCUSS = "interact with discussions and open pull requests"

# Seconds without a byte until a request is given up; by default the client has no limit.
LONGEST_SILENCE = 300.0
_TOKEN = re.compile(r"\bhf_\w+|(?<=Bearer )[^\s'\"]+")
_USER = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(?<=\w)\?[^\s'\"]+")


def without_secrets(text: str) -> str:
    """`text` without tokens, its addresses cut before the part that may sign or open them.

    >>> without_secrets("PUT https://me:pass@host/file?signature=abc")
    'PUT https://host/file'
    """
    from huggingface_hub import get_token

    own = get_token()  # another Hub may give tokens of another form
    text = text.replace(own, "(token)") if own else text
    return _QUERY.sub("", _USER.sub("", _TOKEN.sub("(token)", text)))


@contextmanager
def hub_sentences(doing: str, repo_id: str, *, needs: str = "") -> Iterator[None]:
    """Turn whatever the Hub client raises while `doing` something with `repo_id` into a UserError.

    doing: such as "merging pull request 3". needs: `WRITE` or `DISCUSS`, "" for reading.

    >>> with hub_sentences("reading", "org/name"):
    ...     HfApi().list_repo_refs("org/name")
    """
    from huggingface_hub import get_session
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    # The client's own transport errors: of httpx with huggingface-hub 1, of httpx2 with 2.
    transport: type[Exception] = HfHubHTTPError.__bases__[0]
    begun = doing[:1].upper() + doing[1:]
    hooks = get_session().event_hooks["request"]
    if _set_limits not in hooks:
        hooks.append(_set_limits)
    try:
        yield
    except LocalTokenNotFoundError:
        raise UserError(
            f"{begun} needs a Hub token, and there is none. Make one with {needs or 'read access'} "
            f"at {_token_page()}, then run `hf auth login` or set HF_TOKEN."
        ) from None
    except OfflineModeIsEnabled:
        raise UserError(
            f"{begun} needs the Hub, and HF_HUB_OFFLINE is set: unset it for this command."
        ) from None
    except (transport, LocalEntryNotFoundError, RuntimeError) as error:
        # An upload and a download wrap what went wrong, some of them twice.
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, transport):
            cause = cause.__cause__
        if not isinstance(cause, (transport, LocalEntryNotFoundError)):
            raise
        # `from None`: the client's own message may show a signed address.
        if isinstance(cause, HfHubHTTPError):
            raise UserError(_refused(cause, begun, repo_id, needs)) from None
        raise UserError(
            f"{begun} did not end: {without_secrets(str(cause)) or type(cause).__name__}. "
            "Give the same command again: it resumes where it stopped."
        ) from None


def _set_limits(request: Any) -> None:
    """Give a request of the client's session a time limit; one that is set already holds."""
    set_by_caller = request.extensions.get("timeout") or {}
    phases = ("connect", "read", "write", "pool")
    request.extensions["timeout"] = {
        phase: LONGEST_SILENCE if set_by_caller.get(phase) is None else set_by_caller[phase]
        for phase in phases
    }


def _refused(error: "HfHubHTTPError", begun: str, repo_id: str, needs: str) -> str:
    status = error.response.status_code
    said = without_secrets(str(error.server_message or error.response.headers.get("X-Error-Message") or ""))
    answer = f"{status}: {said}" if said else str(status)
    start = f"{begun} was refused by the Hub ({answer})."
    owner = repo_id.partition("/")[0]
    if status == 403:
        return (
            f"{start} The token lacks a permission: {needs or 'read access'}, for {owner}. Grant it at "
            f"{_token_page()}, or ask an owner of {owner} for the role `write`; then give the same command "
            "again."
        )
    if status == 401:
        return (
            f"{start} No token was sent, or one that is not valid any more: make one with "
            f"{needs or 'read access'} for {owner} at {_token_page()}, then run `hf auth login` or set "
            "HF_TOKEN."
        )
    if status == 404:
        return f"{start} {repo_id} or what is asked of it does not exist, or the token may not see it."
    if status in (409, 412):
        return f"{start} Something changed there in the meantime: give the same command again, it looks anew."
    return f"{start} Give the same command again later: it resumes where it stopped."


def _token_page() -> str:
    from huggingface_hub import constants

    return without_secrets(f"{constants.ENDPOINT}/settings/tokens")


class _WithoutSecrets(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return True


@contextmanager
def log_without_secrets() -> Iterator[None]:
    """Cut what the Hub client logs as `without_secrets` does: its retries show whole signed addresses."""
    import huggingface_hub  # noqa: F401, so that its logger has its handler

    handlers, cut = logging.getLogger("huggingface_hub").handlers, _WithoutSecrets()
    handlers = [*handlers, *logging.getLogger().handlers]
    for handler in handlers:
        handler.addFilter(cut)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(cut)
