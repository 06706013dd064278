"""Which files of a repository are not under the repository's own licence: vendored ones, and copyleft ones.

A repository of permissive licence may carry other people's code. A folder's name or the first lines of a
file tell most of it; what neither tells is not found.
"""

import re

HEAD = 3_000  # characters in which a file says what licence it has
_FOLDERS = frozenset(
    {"3rd-party", "3rd_party", "3rdparty", "third-party", "third_party", "thirdparty"}
    | {"external", "externals", "extern", "deps", "vendor", "vendors", "vendored", "_vendor"}
)
_COPYLEFT = re.compile(
    r"GNU (?:Lesser |Library |Affero )?(?:General )?Public Licen[cs]e|\b[AL]?GPL\b|\b[AL]?GPL-?v?[123]"
    r"|Mozilla Public Licen[cs]e|\bMPL[- ]?[12]|Eclipse Public Licen[cs]e|\bEPL-[12]|\bCDDL\b"
    r"|CC[- ]BY[- ](?:NC|SA)|ShareAlike|Server Side Public Licen[cs]e|\bSSPL\b|Business Source Licen[cs]e",
    re.IGNORECASE,
)


def is_vendored(path: str) -> bool:
    """Whether a folder of a path is called like one for other people's code, whatever its case.

    >>> is_vendored("src/ThirdParty/zip.c")
    True
    """
    return not _FOLDERS.isdisjoint(path.lower().split("/")[:-1])


def names_copyleft(text: str) -> bool:
    """Whether the first lines of a file name a licence that asks the same of what is made of it.

    A file under either of two licences, one of them copyleft, counts too.

    >>> names_copyleft("// SPDX-License-Identifier: GPL-2.0-or-later")
    True
    """
    return _COPYLEFT.search(text[:HEAD]) is not None
