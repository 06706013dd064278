"""What a command took is near what it is known to take, children included."""

import os
import sys
from pathlib import Path

import pytest

from codequarry.benchmarks.measured_command import run_measured

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
HOLDS = "import time; held = b'x' * {size}; time.sleep({seconds})"
BEGINS = "import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], check=True)"


def python(program):
    return run_measured([sys.executable, "-c", program], os.environ)


@needs_proc
def test_the_memory_of_a_process_that_the_command_begins_is_counted():
    holds = HOLDS.format(size=200_000_000, seconds=0.5)
    alone, begun = python(holds), python(BEGINS.format(program=BEGINS.format(program=holds)))
    assert 200e6 < alone.peak_bytes < 260e6
    assert alone.peak_bytes < begun.peak_bytes < alone.peak_bytes + 60e6


def test_the_seconds_are_those_of_the_whole_command():
    assert 0.5 <= python("import time; time.sleep(0.5)").seconds < 30


def test_a_command_that_fails_is_named_with_its_exit_code():
    with pytest.raises(ValueError, match=r"-c import sys; sys.exit\(7\)` ended with 7"):
        python("import sys; sys.exit(7)")


def test_a_command_runs_in_the_folder_and_environment_that_it_is_given(tmp_path):
    program = "import os; open('found', 'w').write(os.environ['WORD'])"
    run_measured([sys.executable, "-c", program], os.environ | {"WORD": "here"}, tmp_path)
    assert (tmp_path / "found").read_text() == "here"
