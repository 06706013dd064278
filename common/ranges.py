"""The range of each number of a settings class, beside its type, and one walk that checks them all."""

import dataclasses
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from codequarry.common.errors import UserError


@dataclass(frozen=True)
class Range:
    """Which numbers a field may have; NaN and infinities are in no range.

    least, most: the ends where they are included. above, below: the ends where they are not. None: no end.
    says: the range in words; "" for words made of the ends.

    >>> rate: Annotated[float, Range(above=0, most=1)]
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    says: str = ""

    def __contains__(self, number: float) -> bool:
        try:
            finite = math.isfinite(number)
        except OverflowError:  # an integer past the largest float
            finite = False
        return (
            finite
            and (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        if self.says:
            return self.says
        ends = [
            f"{word} {end:,}" if isinstance(end, int) else f"{word} {end:g}"
            for word, end in (
                ("from", self.least), ("above", self.above), ("to", self.most), ("below", self.below)
            )
            if end is not None
        ]  # fmt: skip
        if self.most is None and self.below is None:
            return f"a finite number {' '.join(ends)}" + (" up" if self.least is not None else "")
        return f"a number {' and '.join(ends) if self.above is not None else ' '.join(ends)}"


Count = Annotated[int, Range(least=1, says="at least 1")]


@dataclass(frozen=True)
class Number:
    """A numeric field of a settings class.

    kind: int or float. range: None where the class states none. optional: None is a value of it.
    """

    name: str
    kind: type
    range: Range | None
    optional: bool


def numbers_of(schema: type[Any]) -> dict[str, Number]:
    """The numeric fields of a dataclass: numbers, tuples of them, and mappings to them; by name."""
    found = {field.name: _number(schema, field.name) for field in dataclasses.fields(schema)}
    return {name: number for name, number in found.items() if number is not None}


def tables_of(schema: type[Any]) -> dict[str, type[Any]]:
    """The fields of a dataclass that are dataclasses themselves, by name."""
    found = {}
    for name, hint in _hints(schema).items():
        kind = _plain(hint)[0]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            found[name] = kind
    return found


def number_faults(
    schema: type[Any], values: Mapping[str, Any], table: str = "", inside: str = ""
) -> list[str]:
    """A sentence for each number that is none, or out of its range, of all tables; [] where all are right.

    Arguments:
        schema: a dataclass.
        values: what its fields are to be; a missing one has its default, a table is a mapping.
        table: where the fields are, such as `objective.matching`; "" at the top.
        inside: ends the names of fields at the top, such as ` in recipe mini`.
    """
    faults: list[str] = []
    for name, number in numbers_of(schema).items():
        value = values.get(name)
        if name not in values or (number.optional and value in (None, "none")):
            continue
        at = f"{table}: {name}" if table else name
        where = "" if table else inside
        for key, item in _items(value):
            if isinstance(item, bool) or not isinstance(item, (int, float) if number.kind is float else int):
                of = at if key is None else f"{at}: {key}"
                faults.append(
                    f"{of} = {item!r} is {type(item).__name__}; {number.kind.__name__} is expected."
                )
            elif number.range is not None and item not in number.range:
                shown = f"{float(item)}" if number.kind is float and abs(item) < 1e300 else f"{item}"
                is_ = f"{at} = {shown}{where}" if key is None else f"{at} of {key!r}{where} is {shown}"
                faults.append(f"{is_}: {number.range}.")
    for name, kind in tables_of(schema).items():
        value = values.get(name)
        if isinstance(value, Mapping):
            faults += number_faults(kind, value, f"{table}.{name}" if table else name)
    return faults


def check_numbers(settings: Any, table: str = "", inside: str = "") -> None:
    """Raise UserError, with all faults, unless every number of a dataclass is in its range.

    Arguments: as of `number_faults`.
    """
    refuse_faults(number_faults(type(settings), _values(settings), table, inside))


def refuse_faults(faults: list[str]) -> None:
    """Raise UserError with these sentences, if there are any."""
    if len(faults) == 1:
        raise UserError(faults[0])
    if faults:
        raise UserError(f"{len(faults)} numbers are wrong:\n" + "\n".join(faults))


def _values(settings: Any) -> dict[str, Any]:
    return {
        field.name: _values(value) if dataclasses.is_dataclass(value) else value
        for field in dataclasses.fields(settings)
        for value in [getattr(settings, field.name)]
    }


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each number of a value with its key, which is None for a number alone and in a list."""
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from ((None, item) for item in value)
    else:
        yield None, value


def _hints(schema: Any) -> dict[str, Any]:
    return get_type_hints(schema, include_extras=True)


def _plain(hint: Any) -> tuple[Any, Range | None, bool]:
    """A type without `Annotated` and without None, its range, and whether None is a value."""
    found: Range | None = None
    optional = False
    while True:
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            found = found or next((extra for extra in extras if isinstance(extra, Range)), None)
        elif get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
            (hint,) = [part for part in get_args(hint) if part is not type(None)]
            optional = True
        else:
            return hint, found, optional


def _number(schema: type[Any], name: str) -> Number | None:
    kind, found, optional = _plain(_hints(schema)[name])
    part = {tuple: 0, Mapping: 1}.get(get_origin(kind))
    if part is not None:
        kind, inner, _ = _plain(get_args(kind)[part])
        found = found or inner
    return Number(name, kind, found, optional) if kind in (int, float) else None
