"""The arrows between rooms, as CONTRIBUTING.md draws them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "common", "modules", "recipes", "data", "training", "train", "inference", "search", "model_card",
    "release", "integrations", "benchmarks", "cli",
}  # fmt: skip
MAY_IMPORT = {
    "common": set(),
    "modules": {"common"},
    "recipes": {"common", "modules"},
    "data": {"common", "modules.tasks"},
    "training": {"common", "modules", "recipes", "data"},
    "train.py": {"common", "modules", "recipes", "data", "training"},
    "inference": {"common", "modules"},
    "search": {"common", "modules.tasks", "inference", "data.parsing"},
    "model_card": {"common", "modules.tasks"},
    "release": {"common", "modules", "inference", "model_card"},
    "integrations": {"common", "modules", "inference", "search"},
    "benchmarks": ROOMS,
    "cli": ROOMS,
    "__init__.py": {"common", "modules", "inference"},
    "__main__.py": ROOMS,
}


def imports(file: Path) -> set[str]:
    """What a file imports of ours, without the leading `codequarry.`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("codequarry."):
            found.add(node.module.removeprefix("codequarry."))
        elif isinstance(node, ast.Import):
            found |= {
                name.name.removeprefix("codequarry.")
                for name in node.names
                if name.name.startswith("codequarry.")
            }
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).glob("**/*.py"))
    assert files
    for file in files:
        for module in imports(file):
            own = module == room or module.startswith(f"{room}.")
            allowed = any(module == name or module.startswith(f"{name}.") for name in MAY_IMPORT[room])
            assert own or allowed, f"{file.relative_to(ROOT)} imports codequarry.{module}"


def test_every_room_has_its_arrows_written_down() -> None:
    rooms = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} | {
        file.name for file in ROOT.glob("*.py")
    }
    assert rooms == set(MAY_IMPORT)


def test_no_file_is_past_420_lines() -> None:
    rooms = [ROOT / room.removesuffix(".py") for room in MAY_IMPORT] + [ROOT / "tests"]
    files = [file for room in rooms for file in room.glob("**/*.py")] + list(ROOT.glob("*.py"))
    long = [file for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 420]
    assert not long
