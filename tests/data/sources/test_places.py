import subprocess
from pathlib import Path

import pytest

from codequarry.data.sources.places import files_of
from codequarry.data.sources.schema import Git, Hub


def _commit(folder: Path, **files: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "First"]):
        subprocess.run(["git", "-C", folder, *identity, *command], check=True, capture_output=True)
    return subprocess.check_output(["git", "-C", folder, "rev-parse", "HEAD"], text=True).strip()


def test_files_of_several_places_come_with_their_repository_in_front(tmp_path: Path) -> None:
    first = _commit(tmp_path / "owner+first", **{"b.py": "b", "a.py": "a", "c.txt": "c"})
    second = _commit(tmp_path / "second", **{"d.py": "d"})
    where = (Git("owner/first", first, ("/*.py",)), Git("other/second", second))
    assert list(files_of(where, mirrors=tmp_path)) == [
        ("owner/first/a.py", b"a"),
        ("owner/first/b.py", b"b"),
        ("other/second/d.py", b"d"),
    ]


def test_a_data_set_on_the_hub_has_no_files() -> None:
    with pytest.raises(ValueError, match="records, not files"):
        list(files_of([Hub("owner/data")]))
