"""What a user calls a repository: a folder on this machine, `owner/name` on GitHub, or a URL.

Credentials in an address go to git by variables of its environment, and nowhere else: no name, message,
folder or file holds them.
"""

import difflib
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from codequarry.common.errors import UserError, without_credentials

HOST = "https://github.com/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[\w.-]+")
_URL = re.compile(r"(https?|ssh|git)://[^/?#]+/[^\s]*", re.IGNORECASE)
_FILE = re.compile(r"file://(?:localhost)?/", re.IGNORECASE)
_USER = re.compile(r"^[^/@\s]*(:[^/@\s]*@|@(?=[\w-]+(\.[\w-]+)+/))")  # of an address without `https://`
_SSH = re.compile(r"[\w.+-]+@[A-Za-z0-9][\w.-]*:(?!:|//)\S+")  # as `git@host:owner/name`
_EXPECTED = "pass a folder, owner/name on GitHub, or a URL"


@dataclass(frozen=True)
class Address:
    """Where a repository is that is not a folder.

    name: how it is called in messages and results: `owner/name` on GitHub, else the URL without credentials.
    url: what git asks, without credentials.
    secret_url: the same with them; "" where there are none.
    """

    name: str
    url: str
    secret_url: str = field(default="", repr=False)

    @property
    def path(self) -> Path | None:
        """The folder of a `file://` address."""
        if not (begin := _FILE.match(self.url)):
            return None
        return Path(urllib.parse.unquote(self.url[begin.end() - 1 :], errors="surrogateescape"))

    def without_secrets(self, text: str) -> str:
        """`text` without the credentials of this address, in whichever form git repeats them."""
        if self.secret_url:
            text = text.replace(self.secret_url, self.url)
            person = urllib.parse.urlsplit(self.secret_url).netloc.rpartition("@")[0]
            user, _, password = person.partition(":")
            for secret in (f"{user}:{password}", password or user):
                for form in (secret, urllib.parse.unquote(secret)):
                    text = text.replace(form, "(hidden)") if len(form) > 3 else text
        return without_credentials(text)


def without_secrets(where: str) -> str:
    """An address as messages and results may hold it.

    >>> without_secrets("https://me:token@host/owner/name.git?key=secret")
    'https://host/owner/name.git'
    """
    return _USER.sub("", without_credentials(where))


def parse_address(where: str) -> Address:
    """The address that `where` means, which is no folder of this machine.

    Raises UserError for what is neither `owner/name` nor an address that git may ask. `ext::…` is none: it
    runs any command.
    """
    name = without_secrets(where)
    if _NAME.fullmatch(where) and not where.endswith(("/.", "/..")):
        return Address(name, HOST + where)
    if _SSH.fullmatch(where) and where.isprintable():
        return Address(name, where)
    if where.isprintable() and (_URL.fullmatch(where) or _FILE.match(where)):
        return _checked(where, name)
    if "://" in where or "::" in where:
        raise UserError(
            f"{name} is no address that is read: expected https://, ssh://, git:// or file://, a folder, or "
            "owner/name on GitHub."
        )
    if Path(where).exists():
        raise UserError(f"{where} is a file: {_EXPECTED}.")
    raise UserError(f"{name} is not there: {_EXPECTED}.")


def _checked(url: str, name: str) -> Address:
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if port == -1:  # the address is not repeated: what stands there may be a password
        raise UserError(
            f"An address of {parts.scheme}:// has no number as its port: in a password write / as %2F, @ as "
            "%40, : as %3A, # as %23 and ? as %3F."
        )
    if parts.scheme.lower().startswith("http"):
        of_host = name.removeprefix(HOST).removesuffix("/").removesuffix(".git")
        return Address(of_host if _NAME.fullmatch(of_host) else name, name, url if name != url else "")
    if parts.password is not None:
        raise UserError(f"{name} has a password, which is not used: take a key, or an https address.")
    return Address(name, url)


def refuse_mistyped_folder(where: str) -> None:
    """Raise UserError for `owner/name` that is meant for a folder of this machine, and must not reach a host.

    That is so where the first part is there (`src/utlis` next to `src`), or nearly so and the rest is in it.
    """
    if not _NAME.fullmatch(where):
        return
    owner, _, name = where.partition("/")
    asked = f"for the repository on GitHub, pass {HOST}{where}"
    if Path(where).exists():
        raise UserError(f"{where} is a file: pass a folder; {asked}.")
    if Path(owner).exists() or Path(owner).is_symlink():
        raise UserError(f"{where} is not there, although {owner} is: look at the name; {asked}.")
    try:
        here = [path.name for path in Path().iterdir()]
    except OSError:
        return
    for near in difflib.get_close_matches(owner, here, n=3, cutoff=0.6):
        if (Path(near) / name).is_dir():
            raise UserError(f"{where} is not there. Did you mean the folder {near}/{name}? Or, {asked}.")
