"""The key that clients send, where one is required: read from a file or the environment, never printed."""

import hmac
import os
from pathlib import Path

from codequarry.common.environment import is_loopback
from codequarry.common.errors import UserError

KEY_VARIABLE = "CODEQUARRY_API_KEY"


def read_key(file: Path | None) -> str | None:
    """The key in `file`, or in the environment variable CODEQUARRY_API_KEY; None where neither is given.

    Raises UserError for a file that cannot be read, both given, and a key that no header can carry.
    """
    found = os.environ.get(KEY_VARIABLE)
    if file is None and found is None:
        return None
    if file is not None:
        if found is not None:
            raise UserError(f"--api-key-file and {KEY_VARIABLE} are both given: which key counts? Drop one.")
        try:
            found = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the key file {file} cannot be read ({type(error).__name__}).") from error
    key = (found or "").strip()
    where = file or KEY_VARIABLE
    if not key:
        raise UserError(f"{where} holds no key. Put one line of letters and digits there.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(
            f"the key in {where} has characters that a header cannot carry: use letters and digits."
        )
    return key


def shows_key(authorization: str | None, key: str) -> bool:
    """Whether the header `Authorization` carries `key`; in constant time."""
    scheme, _, shown = (authorization or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), key.encode())


def refuse_open_door(host: str, key: str | None, *, no_key: bool) -> None:
    """Raise UserError for an address that other machines reach without a key, unless `no_key`."""
    if key is not None and no_key:
        raise UserError("a key is given and --no-key as well: drop one of the two.")
    if key is None and not no_key and not is_loopback(host):
        raise UserError(
            f"{host} can be reached from other machines, and no key is asked for. Put a key into a file and "
            f"pass --api-key-file FILE, or set {KEY_VARIABLE}; or say --no-key if everyone may use the model."
        )
