import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import codequarry

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_room_with_python_is_in_the_list_of_packages() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*/__init__.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    rooms = {"codequarry." + str(Path(file).parent).replace("/", ".") for file in tracked}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == rooms | {"codequarry"}


def test_the_root_holds_three_python_files() -> None:
    assert {file.name for file in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "train.py"}


def test_the_wheel_holds_the_package_its_data_and_nothing_else(tmp_path: Path) -> None:
    import zipfile

    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            ROOT,
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        f"codequarry/{file}"
        for package in PROJECT["tool"]["setuptools"]["packages"]
        for file in _package_files(package)
    }
    assert names == expected
    assert {"codequarry/recipes/mini.toml", "codequarry/py.typed", "codequarry/train.py"} <= names
    assert not any({"tests", "results"}.intersection(name.split("/")) for name in names)


def _package_files(package: str) -> list[str]:
    folder = ROOT.joinpath(*package.split(".")[1:])
    data = PROJECT["tool"]["setuptools"]["package-data"].get(package, [])
    files = [*folder.glob("*.py"), *(file for pattern in data for file in folder.glob(pattern))]
    return [str(file.relative_to(ROOT)) for file in files if file.is_file()]


def test_every_constraint_admits_what_is_installed_here() -> None:
    from importlib.metadata import PackageNotFoundError, version

    constraints = (ROOT / "constraints.txt").read_text()
    installed_from = Path(sys.prefix) / "installed"  # make's copy of them
    if not installed_from.is_file() or installed_from.read_text() != constraints:
        pytest.skip("this environment was not installed from these constraints")
    for line in constraints.splitlines():
        name, _, pinned = line.partition("==")
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        assert installed.split("+")[0] == pinned, f"{name}: installed {installed}, constrained to {pinned}"


def test_importing_the_face_takes_less_than_a_third_of_a_second_and_no_torch() -> None:
    program = (
        "import time; start = time.perf_counter(); import codequarry; took = time.perf_counter() - start\n"
        "import sys; print(took, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(3)]
    took, *heavy = min(run.stdout for run in runs).split()
    assert heavy == ["False", "False"]
    assert float(took) < 0.3


def test_the_version_is_the_one_in_pyproject() -> None:
    assert codequarry.__version__ == PROJECT["project"]["version"]
