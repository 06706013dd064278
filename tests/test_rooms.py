"""The arrows between rooms, as HOUSE and CONTRIBUTING draw them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EVERY = {
    "modules", "recipes", "data", "search", "integrations", "model_card", "release", "benchmarks", "train",
    "training",
}  # fmt: skip
MAY_IMPORT = {
    "modules": set(),
    "recipes": {"modules"},
    "data": {"modules.tasks"},
    "search": {"modules", "data.syntax"},
    "model_card": {"modules.tasks"},
    "release": {"modules", "model_card"},
    "integrations": {"modules"},
    "benchmarks": EVERY,
    "training": {"modules", "recipes", "data"},
    "train.py": {"recipes", "data", "modules", "training"},
    "__init__.py": {"modules"},
    "__main__.py": EVERY,
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


def test_no_file_is_past_four_hundred_lines() -> None:
    rooms = [ROOT / room.removesuffix(".py") for room in MAY_IMPORT] + [ROOT / "tests"]
    files = [file for room in rooms for file in room.glob("**/*.py")] + list(ROOT.glob("*.py"))
    long = [file for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 400]
    assert not long
