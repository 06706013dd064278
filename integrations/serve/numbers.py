"""Vectors as JSON, one at a time."""

from codequarry.integrations.serve.encoder import Vectors


def as_list(row: Vectors) -> str:
    """A vector as a JSON list. Nine digits bring a float32 back exactly, at half the length of a float64."""
    return f"[{', '.join(f'{number:.9g}' for number in row.tolist())}]"
