import json
import logging
import re
from pathlib import Path

import pytest

from codequarry.training.checkpoints import newest_complete, publish, remove_older, writing_folder

FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json", "rng_state.pth",
         "1_Pooling/config.json")  # fmt: skip


def checkpoint(folder: Path, step: int) -> Path:
    written = writing_folder(folder) / f"checkpoint-{step}"
    for name in FILES:
        (written / name).parent.mkdir(parents=True, exist_ok=True)
        (written / name).write_bytes(f"{name} of step {step}".encode() * 100)
    publish(written, folder / written.name)
    return folder / written.name


def test_the_newest_checkpoint_is_found_by_number_not_by_name(tmp_path: Path) -> None:
    checkpoint(tmp_path, 900)
    newest = checkpoint(tmp_path, 1000)
    assert newest_complete(tmp_path) == newest_complete(tmp_path, check=False) == newest


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert newest_complete(tmp_path / "absent") is None
    assert newest_complete(tmp_path) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("bit", "has changed since it was written"),
        ("cut", r"has [\d,]+ bytes, [\d,]+ were written"),
        ("gone", "is missing"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_set_aside_and_the_one_before_it_used(
    name: str, damage: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, broken = checkpoint(tmp_path, 20), checkpoint(tmp_path, 40)
    content = (broken / name).read_bytes()
    if damage == "bit":
        (broken / name).write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    elif damage == "cut":
        (broken / name).write_bytes(content[:-1])
    else:
        (broken / name).unlink()
    with caplog.at_level(logging.WARNING):
        assert newest_complete(tmp_path) == before
    assert f"{broken} cannot be used: {name} " in caplog.text
    assert re.search(reason, caplog.text)
    assert not broken.exists()
    assert (tmp_path / "corrupt-checkpoint-40").is_dir()
    assert newest_complete(tmp_path, check=False) == before, "later ranks look at names only"


def test_a_checkpoint_without_a_readable_list_of_its_files_is_not_used(tmp_path: Path) -> None:
    before = checkpoint(tmp_path, 20)
    (checkpoint(tmp_path, 40) / "complete").unlink()
    (checkpoint(tmp_path, 60) / "complete").write_text("half a li")
    assert newest_complete(tmp_path) == before


def test_when_all_are_damaged_none_is_left(tmp_path: Path) -> None:
    for step in (20, 40):
        (checkpoint(tmp_path, step) / "optimizer.pt").write_bytes(b"")
    assert newest_complete(tmp_path) is None
    assert {file.name for file in tmp_path.glob("corrupt*")} == {
        "corrupt-checkpoint-20",
        "corrupt-checkpoint-40",
    }


def test_a_checkpoint_appears_whole_in_one_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is renamed to its name has all its files and their list by then."""
    whole: list[bool] = []
    rename = Path.rename

    def looks(source: Path, target: Path) -> Path:
        listed = json.loads((source / "complete").read_text())["files"]
        whole.append(set(listed) == set(FILES) and all((source / name).is_file() for name in FILES))
        assert not target.exists()
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", looks)
    checkpoint(tmp_path, 20)
    assert whole == [True]


def test_what_a_kill_left_half_written_or_half_removed_is_cleaned_away(tmp_path: Path) -> None:
    good = checkpoint(tmp_path, 20)
    (writing_folder(tmp_path) / "checkpoint-40").mkdir(parents=True)
    (tmp_path / ".removed-checkpoint-10").mkdir()
    assert newest_complete(tmp_path) == good
    assert list(tmp_path.iterdir()) == [good]


def test_the_newest_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    made = {step: checkpoint(tmp_path, step) for step in (20, 40, 60, 80)}
    remove_older(tmp_path, keep=0, best=None)
    assert all(one.exists() for one in made.values())
    remove_older(tmp_path, keep=2, best=made[20])
    assert [step for step, one in made.items() if one.exists()] == [20, 60, 80]


def test_a_kill_while_an_old_one_is_removed_leaves_it_whole_or_out_of_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (20, 40, 60):
        checkpoint(tmp_path, step)

    def killed(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("codequarry.training.checkpoints.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_older(tmp_path, keep=2, best=None)
    assert not (tmp_path / "checkpoint-20").exists()
    monkeypatch.undo()
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-60"
    assert {folder.name for folder in tmp_path.iterdir()} == {"checkpoint-40", "checkpoint-60"}
