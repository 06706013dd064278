"""How long `pip install` takes and how much it brings: search alone, and with torch.

    python -m codequarry.benchmarks.installation path/to/codequarry-0.1.0-py3-none-any.whl

Each way gets a new environment, without pip's cache. Seconds depend on the network and on what else the
machine does; packages and megabytes do not.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from codequarry.common.environment import origin, written_command
from codequarry.common.errors import UserError, run_program
from codequarry.common.files import write_json
from codequarry.common.tables import markdown_table

RESULTS = Path(__file__).with_name("results") / "installation.json"
EXTRAS = ("", "[torch]")


def install(wheel: Path, extra: str) -> dict[str, Any]:
    """Install a wheel with an extra in a new environment, and measure. Raises UserError where pip fails."""
    with tempfile.TemporaryDirectory() as place:
        environment = Path(place) / "environment"
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        before = _megabytes(environment)
        used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        words = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-cache-dir",
            f"{wheel.resolve()}{extra}",
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise UserError(f"pip ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        listed = subprocess.run(
            [str(python), "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
        )
        packages = {one["name"]: one["version"] for one in json.loads(listed.stdout)}
        return {
            "extra": extra,
            "packages": len(packages.keys() - {"pip", "setuptools"}),
            "torch": packages.get("torch"),
            "megabytes": _megabytes(environment) - before,
            "seconds": round(seconds),
            "processor_seconds": round(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime),
        }


def _megabytes(folder: Path) -> int:
    return round(sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6)


def installation_table(record: dict[str, Any]) -> str:
    """One line a way, as documentation shows it."""
    lines = [
        [
            f"`pip install 'codequarry{row['extra']}'`" if row["extra"] else "`pip install codequarry`",
            str(row["packages"]),
            f"{row['megabytes']:,} MB",
            f"{row['seconds']} s",
            f"{row['processor_seconds']} s",
        ]
        for row in record["rows"]
    ]
    return markdown_table(["command", "packages", "on disk", "seconds", "processor seconds"], lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this program."""
    parser.add_argument("wheel", type=Path, help="what `pip wheel --no-deps .` made")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results file")


def run(arguments: argparse.Namespace) -> None:
    """Measure each way, print a table, and write the results file."""
    if sys.platform == "win32":
        raise UserError("this program measures processes as POSIX systems do: run it on one.")
    rows = [install(arguments.wheel, extra) for extra in EXTRAS]
    record = {**origin(written_command("python -m codequarry.benchmarks.installation")), "rows": rows}
    write_json(arguments.out, record)
    print(installation_table(record))


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
