import subprocess
import sys
import textwrap

import pytest

from codequarry.data.mining import workers
from codequarry.data.mining.workers import read_files


def test_files_are_counted_the_same_by_one_process_and_by_two(tmp_path, monkeypatch):
    for number in range(9):
        (tmp_path / f"part_{number}.py").write_text(f"def f():\n    a()\n    return {number}\n")
    (tmp_path / "old.py").write_text("print 'x'\n")
    (tmp_path / "notes.md").write_text("words")
    monkeypatch.setattr(workers, "_BATCH", 2)
    monkeypatch.setattr(workers, "_WORTH_A_PROCESS", 1)
    kinds = ("docstring", "completion", "test")
    one, two = (read_files(tmp_path, "here", kinds, workers=n, progress=False) for n in (1, 2))
    assert one == two
    assert one.report.read == 10
    assert one.report.skipped == {"does not parse": 1, "not a language that is mined": 1}
    assert [function.path for function in one.functions] == [f"part_{number}.py" for number in range(9)]


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_of_ones_own_works_or_says_how_it_would(tmp_path, guarded):
    code = tmp_path / "code"
    code.mkdir()
    for number in range(210):
        (code / f"part_{number}.py").write_text(f"def f():\n    a()\n    return {number}\n")
    body = """
        from codequarry.data.mining.mine import mine
        {guard}
            try:
                print(mine([{code!r}], kinds=["completion"], progress=False).files.read)
            except ValueError as error:
                print("error:", error)
    """
    script = tmp_path / "script.py"
    guard = 'if __name__ == "__main__":' if guarded else "if True:"
    script.write_text(textwrap.dedent(body).format(guard=guard, code=str(code)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "210\n" if guarded else "pass workers=1" in done.stdout
