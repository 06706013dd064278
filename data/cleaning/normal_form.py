"""What two copies of a text have in common, and what two copies of a program have when comments differ."""

import re
from hashlib import blake2b

from codequarry.data.shingles import tokens

_COMMENT_OR_STRING = re.compile(
    r'(?P<docstring>(?:^|(?<=[\n:]))\s*[rRuU]?(?:"""(?s:.*?)"""|\'\'\'(?s:.*?)\'\'\'))'
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`[^`\n]*`'
    r"|(?P<comment>/\*(?s:.*?)\*/|<!--(?s:.*?)-->|//[^\n]*|(?<!\S)#[^\n]*|(?<!\S)--[^\n]*)"
)


def normal_form(text: str) -> bytes:
    """16 bytes that two texts share when their words and signs do: spaces, line ends and case are gone.

    >>> normal_form("f( x )") == normal_form("F(x)\\n")
    True
    """
    return blake2b("\0".join(tokens(text)).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def without_comments(code: str) -> str:
    """The text without what is a comment or docstring in any of the usual languages.

    It does not ask for the language, so it takes too much of some (`--all` of a command, `#include`). Both
    copies of a program lose the same, which is all that comparing them needs.
    """
    return _COMMENT_OR_STRING.sub(
        lambda found: " " if found["comment"] or found["docstring"] else found[0], code
    )
