from pathlib import Path

from codequarry.modules.checkpoints import mark_complete, newest_complete


def checkpoint(folder: Path, step: int, *, whole: bool) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "model.safetensors").write_bytes(b"weights")
    if whole:
        mark_complete(made)
    return made


def test_the_newest_whole_checkpoint_is_found_by_number_not_by_name(tmp_path: Path) -> None:
    checkpoint(tmp_path, 900, whole=True)
    newest = checkpoint(tmp_path, 1000, whole=True)
    assert newest_complete(tmp_path) == newest


def test_a_half_written_checkpoint_is_removed_and_the_one_before_it_used(tmp_path: Path) -> None:
    before = checkpoint(tmp_path, 20, whole=True)
    half = checkpoint(tmp_path, 40, whole=False)
    assert newest_complete(tmp_path) == before
    assert not half.exists()


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert newest_complete(tmp_path / "absent") is None
