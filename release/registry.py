"""What is released under which name: the rows of `models.toml`, typed, and whether a folder is one."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.modules.backbone import SHIPPED
from codequarry.release.module_list import saved_modules
from codequarry.release.weights import Dtype, stored_tensors

# safetensors' names of the types that a release is written in.
_STORED = {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}


@dataclass(frozen=True)
class Definition:
    """One model's release, as `models.toml` has it.

    name: of its recipe too. repository: `ORG/NAME` on the Hub.
    dtype: of the weights on disk. max_shard_bytes: tensors of one weight file together, a single larger
        tensor excepted.
    dims: trained dimensions, largest first.
    licence: of the release, its SPDX identifier.
    files: that must be there besides the weights and the modules' configurations; others may.
    in_memory: of the weights once loaded, where the reader asks for nothing else; None: as on disk.
    base_model, base_licence: Hub name and SPDX identifier; None for a random start.
    """

    name: str
    repository: str
    dtype: Dtype
    max_shard_bytes: int
    dims: tuple[int, ...]
    licence: str
    files: tuple[str, ...]
    in_memory: Dtype | None = None
    base_model: str | None = None
    base_licence: str | None = None


@cache
def definitions() -> Mapping[str, Definition]:
    """Every definition, by name.

    >>> definitions()["1.5b"].max_shard_bytes
    1000000000
    """
    table = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))
    every = table.pop("every")
    whole = {name: every | row for name, row in table.items()}
    rows = {name: row | {key: tuple(row[key]) for key in ("dims", "files")} for name, row in whole.items()}
    return MappingProxyType({name: Definition(name, **row) for name, row in rows.items()})


def definition_of(repo_id: str) -> Definition | None:
    """The definition that is released as `repo_id`; None for any other repository."""
    return next((row for row in definitions().values() if row.repository == repo_id), None)


def definition_for(recipe: Mapping[str, Any]) -> Definition | None:
    """The definition of what `recipe` makes, by its name or else by the base it names; None for neither.

    >>> definition_for({"name": "mine", "backbone": {"name": "Qwen/Qwen2.5-Coder-0.5B"}}).name
    '0.5b'
    """
    named = definitions().get(str(recipe.get("name")))
    base = (recipe.get("backbone") or {}).get("name")
    same_base = (row for row in definitions().values() if base is not None and row.base_model == base)
    return named or next(same_base, None)


def licence_of(model: str) -> str | None:
    """The licence of `model`, a base or a release of ours by its Hub name, `mini` or `pico`; None: unknown.

    >>> licence_of("Qwen/Qwen2.5-Coder-1.5B")
    'Apache-2.0'
    """
    for row in definitions().values():
        if model == row.base_model:
            return row.base_licence
        if model == row.repository or (model == row.name and model in SHIPPED):
            return row.licence
    return None


def check_definition(folder: Path, definition: Definition) -> list[str]:
    """One sentence for each thing in which the release in `folder` is not `definition`; [] where it is."""
    needed = {*definition.files}
    if (folder / "modules.json").is_file():
        needed |= {f"{path}/config.json" for _, path in saved_modules(folder)[1:]}
    problems = [f"{name} is missing." for name in sorted(needed) if not (folder / name).is_file()]
    if problems:
        return problems
    dims = tuple(read_json(folder / "config.json").get("matryoshka_dimensions") or ())
    if dims != definition.dims:
        problems.append(f"Its dims are {list(dims)}, defined are {list(definition.dims)}.")
    recipe = read_json(folder / "training.json").get("recipe") or {}
    base = (recipe.get("backbone") or {}).get("name")
    if definition.base_model is not None and base != definition.base_model:
        problems.append(f"It was trained on {base}, defined is {definition.base_model}.")
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights:
        problems.append("It has no weights (model*.safetensors).")
    for path in weights:
        try:
            tensors = stored_tensors(path).values()
        except UserError as error:
            problems.append(str(error))
            continue
        size, most = sum(tensor.size for tensor in tensors), definition.max_shard_bytes
        if size > most and len(tensors) > 1:
            problems.append(f"{path.name} has {size:,} bytes of tensors; defined are {most:,} at most.")
        types, stored = {tensor.kind for tensor in tensors if tensor.is_floating}, _STORED[definition.dtype]
        if types != {stored}:
            problems.append(f"{path.name} holds {', '.join(sorted(types))}, defined is {stored}.")
    return problems
