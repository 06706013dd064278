"""Read a recipe from its TOML file, refusing what the schema does not know."""

import argparse
import dataclasses
import json
import tomllib
import types
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from codequarry.common.errors import UserError, did_you_mean
from codequarry.common.ranges import number_faults, refuse_faults
from codequarry.recipes.schema import Recipe


def recipe_path(name_or_path: str) -> Path:
    """The file of a recipe given by path, or by the name of one that comes with the package.

    Raises UserError when there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = _shipped()
    if (shipped / f"{name_or_path}.toml").is_file():
        return shipped / f"{name_or_path}.toml"
    names = sorted(file.stem for file in shipped.glob("*.toml"))
    raise UserError(f"{name_or_path!r} is neither a recipe file nor one of {', '.join(names)}.")


def recipe_for_base(name_or_path: str, base: str | None) -> tuple[Path, list[str]]:
    """The file of a recipe that trains `base` further, and the settings that name it there.

    Models of different kinds need different rates and lengths: `own` on `pico` is the recipe `own-pico` where
    one of that name comes with the package, and otherwise the recipe itself with `base` as its backbone.

    Arguments: `name_or_path` as in `recipe_path`; `base`, a name or model folder; None for the recipe's own.

    >>> recipe_for_base("own", "0.5b")[0].name
    'own-0.5b.toml'
    """
    if base is not None and (_shipped() / f"{name_or_path}-{base}.toml").is_file():
        return recipe_path(f"{name_or_path}-{base}"), []
    return recipe_path(name_or_path), [] if base is None else [f"backbone.name={json.dumps(base)}"]


def _shipped() -> Path:
    """The folder of the recipes that come with the package."""
    return Path(str(resources.files("codequarry.recipes")))


def offer_settings(parser: argparse.ArgumentParser) -> None:
    """Give a program `--set FIELD=VALUE`, which may be repeated; `settings` of its arguments has them."""
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="replace one field of the recipe, e.g. --set max_steps=20; may be given again",
    )


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe in `path`, with single fields replaced by `settings`.

    Arguments:
        path: a TOML file.
        settings: `field=value` each, nested ones with a dot, values as TOML writes them; a bare word is a
            string, and `none` leaves out a table or number that may be left out (`validation=none`).

    Raises UserError for TOML that does not parse, an unknown or missing field (with the nearest right
    name), a value of the wrong type, and with all of them at once for numbers out of their ranges.

    >>> read_recipe(Path("recipes/mini.toml"), ["max_steps=20", "backbone.weights=random"])
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a TOML file: {error}") from error
    for setting in settings:
        _apply(table, setting)
    name = table.get("name")
    refuse_faults(number_faults(Recipe, table, inside=f" in recipe {name}"))
    recipe: Recipe = _build(Recipe, table, where=str(path))
    return recipe


def recipe_from_record(record: dict[str, Any]) -> Recipe:
    """The recipe that `dataclasses.asdict` turned into `record`, as run folders keep it in JSON."""
    refuse_faults(number_faults(Recipe, record, inside=" in recipe.json"))
    recipe: Recipe = _build(Recipe, record, where="recipe.json")
    return recipe


def _apply(table: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--set {setting!r} has no '=': write --set max_steps=20.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, field = key.strip().split(".")
    for name in tables:
        table = table.setdefault(name, {})
    table[field] = value


def _build(schema: type[Any], table: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(schema)
    known = {field.name: field for field in dataclasses.fields(schema)}
    for name in table:
        if name not in known:
            hint = did_you_mean(name, known) or f" The fields are {', '.join(known)}."
            raise UserError(f"{where}: {name!r} is not a field.{hint}")
    missing = [
        name
        for name, field in known.items()
        if field.default is dataclasses.MISSING is field.default_factory and name not in table
    ]
    if missing:
        raise UserError(f"{where} says nothing about {', '.join(missing)}.")
    return schema(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in table.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (kind,) = [argument for argument in arguments if argument is not type(None)]
        if value is None or (value == "none" and kind is not str):  # TOML has no word for nothing
            return None
        return _value(kind, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _build(kind, value, where)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in arguments:
            raise UserError(f"{where} = {value!r}: pass one of {', '.join(map(repr, arguments))}.")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} = {value!r}: pass a list such as [384, 256].")
        return tuple(_value(arguments[0], item, where) for item in value)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise UserError(f"{where} = {value!r}: write a table of names and numbers.")
        return {name: _value(arguments[1], item, f"{where}: {name}") for name, item in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UserError(f"{where} = {value!r} is {type(value).__name__}; {kind.__name__} is expected.")
    return value
