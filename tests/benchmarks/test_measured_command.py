"""What a command took is near what it is known to take, its child processes included."""

import os
import sys
from pathlib import Path

import pytest

from codequarry.benchmarks.measured_command import Usage, run_measured

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
HOLDS = "import time; held = b'x' * {size}; time.sleep({seconds})"
BEGINS = "import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], check=True)"


def python(program: str, folder: Path) -> Usage:
    return run_measured([sys.executable, "-c", program], os.environ, folder)


@needs_proc
def test_the_memory_of_a_process_that_the_command_begins_is_counted(tmp_path: Path) -> None:
    holds = HOLDS.format(size=200_000_000, seconds=0.5)
    alone = python(holds, tmp_path)
    begun = python(BEGINS.format(program=BEGINS.format(program=holds)), tmp_path)
    assert alone.peak_bytes is not None
    assert begun.peak_bytes is not None
    assert 200e6 < alone.peak_bytes < 260e6
    assert alone.peak_bytes < begun.peak_bytes < alone.peak_bytes + 60e6


def test_the_seconds_are_those_of_the_whole_command_and_sleep_takes_no_processor(tmp_path: Path) -> None:
    found = python("import time; time.sleep(0.5)", tmp_path)
    assert found.seconds >= 0.5
    assert found.cpu_seconds < found.seconds


def test_processor_time_of_a_child_process_is_counted(tmp_path: Path) -> None:
    spends = "import time\nwhile time.process_time() < 0.4: pass"
    assert python(BEGINS.format(program=spends), tmp_path).cpu_seconds >= 0.4


def test_a_command_that_fails_is_named_with_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"-c import sys; sys.exit\(7\)` ended with 7"):
        python("import sys; sys.exit(7)", tmp_path)


def test_a_command_runs_in_the_folder_and_environment_that_it_is_given(tmp_path: Path) -> None:
    program = "import os; open('found', 'w').write(os.environ['WORD'])"
    run_measured([sys.executable, "-c", program], os.environ | {"WORD": "here"}, tmp_path)
    assert (tmp_path / "found").read_text() == "here"
