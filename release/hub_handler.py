"""The one program a release may carry: `handler.py`, which the Hub's inference endpoints run."""

from pathlib import Path

import codequarry

HANDLER = "handler.py"


def handler_source() -> Path:
    """Our `integrations/handler.py`, which runs without codequarry; a release's copy has the same bytes."""
    return Path(codequarry.__file__).parent / "integrations" / HANDLER
