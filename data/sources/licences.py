"""The licences of the texts that sources are made of: what each permits, one row a licence."""

from collections.abc import Mapping
from types import MappingProxyType

from codequarry.data.sources.schema import Licence

_ROWS = (
    # Permissive: keep the notice, do as you like.
    Licence("MIT", commercial=True),
    Licence("MIT-0", commercial=True),
    Licence("BSD-2-Clause", commercial=True),
    Licence("BSD-3-Clause", commercial=True),
    Licence("0BSD", commercial=True),
    Licence("Apache-2.0", commercial=True),
    Licence("ISC", commercial=True),
    Licence("Zlib", commercial=True),
    Licence("BSL-1.0", commercial=True),
    Licence("PostgreSQL", commercial=True),
    Licence("Python-2.0", commercial=True),
    Licence("PSF-2.0", commercial=True),
    Licence("Unlicense", commercial=True),
    Licence("CC0-1.0", commercial=True),
    Licence("CC-BY-3.0", commercial=True),
    Licence("CC-BY-4.0", commercial=True),
    Licence("C-UDA-1.0", commercial=True),  # any computational use of the data, models included
    # Share-alike: what is derived from the text carries the same licence.
    Licence("CC-BY-SA-3.0", commercial=True, share_alike=True),
    Licence("CC-BY-SA-4.0", commercial=True, share_alike=True),
    Licence("GFDL-1.2-or-later", commercial=True, share_alike=True),
    Licence("GFDL-1.3-or-later", commercial=True, share_alike=True),
    # Not for commercial use.
    Licence("CC-BY-NC-4.0", commercial=False),
    Licence("CC-BY-NC-SA-4.0", commercial=False, share_alike=True),
    # No licence that SPDX knows. Each is read on the user's own machine and never shipped.
    # Functions of many repositories, each under the licence of its own; nobody wrote down which.
    Licence("LicenseRef-per-repository", commercial=False, redistributable=False),
    # Problem statements are LeetCode's, whatever licence the repository of solutions has.
    Licence("LicenseRef-LeetCode", commercial=False, redistributable=False),
    # The terms were looked for and are not clear enough to rely on.
    Licence("LicenseRef-unclear", commercial=False, redistributable=False),
    # Made by a language model whose provider's terms travel with the text.
    Licence("LicenseRef-model-made", commercial=False, redistributable=False),
)

LICENCES: Mapping[str, Licence] = MappingProxyType({row.spdx: row for row in _ROWS})


def get_licence(spdx: str) -> Licence:
    """The licence with this SPDX identifier.

    Raises ValueError for one without a row.
    """
    if spdx in LICENCES:
        return LICENCES[spdx]
    raise ValueError(
        f"{spdx!r} is no licence known here: pass one of {', '.join(LICENCES)}, or give it a row in "
        "data/sources/licences.py."
    )
