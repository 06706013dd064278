import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest

from codequarry.common.ranges import Count, Range, check_numbers, number_faults, numbers_of, tables_of
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.recipes.schema import Recipe

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("range_", "inside", "outside", "words"),
    [
        (Range(least=0), [0, 1e9], [-1e-9], "a finite number from 0 up"),
        (Range(above=0), [1e-9], [0, -1], "a finite number above 0"),
        (Range(least=0, most=1), [0, 0.5, 1], [-0.1, 1.1], "a number from 0 to 1"),
        (Range(above=0, most=1), [1e-9, 1], [0, 2], "a number above 0 and to 1"),
        (Range(least=0, below=1), [0, 0.999], [1], "a number from 0 below 1"),
        (Range(), [-5, 5], [], "a finite number "),
        (Range(least=3, says="three or more"), [3], [2], "three or more"),
    ],
)
def test_a_range_holds_its_ends_or_not_and_says_so(
    range_: Range, inside: list[float], outside: list[float], words: str
) -> None:
    assert all(number in range_ for number in inside)
    assert not any(number in range_ for number in (*outside, NAN, INF, -INF, 10**400))
    assert str(range_) == words


@dataclass(frozen=True)
class Inner:
    rate: Annotated[float, Range(above=0)] = 1.0


@dataclass(frozen=True)
class Outer:
    steps: Count
    name: str = ""
    maybe: Annotated[float | None, Range(least=0)] = None
    flag: bool = True
    sizes: tuple[Count, ...] = ()
    shares: Mapping[str, Annotated[float, Range(least=0)]] = field(default_factory=dict)
    inner: Inner | None = None


def test_the_walk_finds_numbers_alone_in_lists_in_mappings_and_in_tables() -> None:
    assert numbers_of(Outer).keys() == {"steps", "maybe", "sizes", "shares"}
    assert tables_of(Outer) == {"inner": Inner}
    assert number_faults(Outer, {"steps": 1, "maybe": None, "sizes": [1, 2], "inner": {"rate": 3}}) == []


def test_all_faults_are_told_at_once() -> None:
    wrong = {"steps": 0, "maybe": NAN, "sizes": [1, 0], "shares": {"a": -1, "b": "x"}, "inner": {"rate": 0}}
    assert number_faults(Outer, wrong, inside=" in it") == [
        "steps = 0 in it: at least 1.",
        "maybe = nan in it: a finite number from 0 up.",
        "sizes = 0 in it: at least 1.",
        "shares of 'a' in it is -1.0: a finite number from 0 up.",
        "shares: b = 'x' is str; float is expected.",
        "inner: rate = 0.0: a finite number above 0.",
    ]
    with pytest.raises(ValueError, match=r"^3 numbers are wrong:") as error:
        check_numbers(Outer(0, maybe=-1.0, inner=Inner(rate=-1)))
    assert str(error.value).count("\n") == 3


def numeric_fields(schema: type[Any] = Recipe, path: str = "") -> Iterator[tuple[str, Any]]:
    for number in numbers_of(schema).values():
        yield f"{path}{number.name}", number
    for name, kind in tables_of(schema).items():
        yield from numeric_fields(kind, f"{path}{name}.")


FIELDS = dict(numeric_fields())
# What a table needs apart from its numbers.
NEEDED = {"hard_negatives": ["model=mini"], "objective.matching": ["teacher=mini"]}


def test_every_number_of_a_recipe_has_a_range() -> None:
    assert len(FIELDS) > 40
    assert [path for path, number in FIELDS.items() if number.range is None] == []


def outside(number: Any) -> Iterator[Any]:
    range_: Range = number.range
    yield from (NAN, INF, -INF, True, "many", [0.5, "x"])
    lower, upper = [(range_.least, True), (range_.above, False)], [(range_.most, True), (range_.below, False)]
    ends = [(end, -1, closed) for end, closed in lower] + [(end, 1, closed) for end, closed in upper]
    for end, away, included in ends:
        if end is not None:
            whole = int(end) if number.kind is int else float(end)
            yield whole + away
            if not included:
                yield whole


@pytest.mark.parametrize("path", FIELDS)
def test_a_number_of_a_recipe_that_is_out_of_range_is_refused_by_name(path: str) -> None:
    *tables, name = path.split(".")
    table = ".".join(tables)
    settings = [f"{table}.{needed}" for needed in NEEDED.get(table, ())]
    for value in outside(FIELDS[path]):
        text = json.dumps(value) if isinstance(value, str | list | bool) else str(value)
        item = f"{path}.some" if name == "source_weights" else path
        if isinstance(value, list) and name in ("source_weights",):
            continue
        listed = name in ("matryoshka_dims", "projections", "dims") and not isinstance(value, list)
        with pytest.raises(ValueError, match=name) as error:
            read_recipe(recipe_path("mini"), [*settings, f"{item}=[{text}]" if listed else f"{item}={text}"])
        assert "is expected" in str(error.value) or str(FIELDS[path].range) in str(error.value), value


def test_a_recipe_with_many_wrong_numbers_names_them_all(tmp_path: Path) -> None:
    wrong = {"learning_rate": "nan", "warmup_ratio": "5", "weight_decay": "-5", "dropout": "2", "seed": "-1",
             "max_grad_norm": "0", "validation.every_steps": "0", "lora.rank": "0"}  # fmt: skip
    with pytest.raises(ValueError, match=r"^8 numbers are wrong:") as error:
        read_recipe(recipe_path("own"), [f"{name}={value}" for name, value in wrong.items()])
    for name in wrong:
        assert f"{name.rpartition('.')[2]} = " in str(error.value)
    assert "learning_rate = nan in recipe own: a number above 0 and to 1." in str(error.value)


def test_a_changed_recipe_is_checked_as_one_that_is_read() -> None:
    recipe = read_recipe(recipe_path("own"))
    with pytest.raises(ValueError, match="max_steps = -3 in recipe own: at least 1"):
        dataclasses.replace(recipe, max_steps=-3)
