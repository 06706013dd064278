"""Pairs in Parquet, through pyarrow, which is imported only when such a file is met."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codequarry.data.pair import REQUIRED, Pair


def parquet_records(file: Path) -> Iterator[tuple[int, Any]]:
    """Number and content of each row, from 1; the content is a ValueError where the file is broken."""
    pyarrow = _pyarrow()
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            for batch in table.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    # An empty cell is Parquet's way to leave a field out.
                    yield number, {name: value for name, value in row.items() if value is not None}
    except (pyarrow.ArrowException, OSError, ValueError) as damage:
        yield number + 1, ValueError(f"The file is damaged or no Parquet ({damage}).")


def write_parquet(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as one table of strings, `negatives` a list of them."""
    pyarrow = _pyarrow()
    schema = pyarrow.schema(
        [(name, pyarrow.string()) for name in REQUIRED] + [("negatives", pyarrow.list_(pyarrow.string()))]
    )
    rows = [{"negatives": None} | pair.to_record() for pair in pairs]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as missing:
        raise ImportError(
            "Parquet files need pyarrow, which is not installed: run `pip install 'codequarry[train]'`."
        ) from missing
    return pyarrow
