"""Weights in one file or several hold the same tensors, and a folder that does not is named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from codequarry.release.weights import check_weight_files, stored_tensors, write_weights

CONFIG = {"dtype": "float32"}


@pytest.fixture
def sources(tmp_path):
    """Nine tensors in two files, floating ones of two types and a whole-numbered one."""
    torch.manual_seed(0)
    tensors = {f"layers.{n}.weight": torch.randn(50, 20) for n in range(8)}
    tensors["layers.7.weight"] = tensors["layers.7.weight"].bfloat16()
    tensors["positions"] = torch.arange(50)
    names = sorted(tensors)
    files = []
    for number, half in enumerate((names[:4], names[4:])):
        files.append(tmp_path / f"source-{number}.safetensors")
        save_file({name: tensors[name] for name in half}, files[-1])
    return files, tensors


def folder_of(tmp_path, sources, largest_shard, dtype="fp32"):
    folder = tmp_path / "release"
    folder.mkdir()
    return folder, write_weights(sources, folder, dtype, largest_shard)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(("largest_shard", "files"), [(10**9, 1), (9_000, None), (100, 9)])
def test_one_file_or_several_hold_the_tensors_of_the_run(tmp_path, sources, dtype, largest_shard, files):
    paths, tensors = sources
    folder, written = folder_of(tmp_path, paths, largest_shard, dtype)
    assert files in (None, len(written))
    target = torch.float32 if dtype == "fp32" else torch.bfloat16
    found = {name: tensor for file in written for name, tensor in load_file(file).items()}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].equal(tensor.to(target) if tensor.is_floating_point() else tensor)
    assert check_weight_files(folder, {"dtype": str(target).removeprefix("torch.")}) == []


def test_no_file_is_larger_than_asked_unless_one_tensor_is(tmp_path, sources):
    _, written = folder_of(tmp_path, sources[0], 9_000)
    assert len(written) > 2
    for file in written:
        assert sum(tensor.nbytes for tensor in load_file(file).values()) <= 9_000


def test_transformers_reads_the_shards(tmp_path, small_decoder):
    from transformers import AutoModel

    folder = tmp_path / "release"
    folder.mkdir()
    written = write_weights([small_decoder / "model.safetensors"], folder, "fp32", 20_000)
    assert len(written) > 1
    (folder / "config.json").write_bytes((small_decoder / "config.json").read_bytes())
    whole, sharded = AutoModel.from_pretrained(small_decoder), AutoModel.from_pretrained(folder)
    expected = dict(whole.named_parameters())
    assert all(weight.equal(expected[name]) for name, weight in sharded.named_parameters())


def test_the_header_says_what_the_tensors_are(sources):
    files, tensors = sources
    found = {name: one for file in files for name, one in stored_tensors(file).items()}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (found[name].numbers, found[name].size) == (tensor.numel(), tensor.nbytes)
        assert found[name].is_floating == tensor.is_floating_point()
    assert found["layers.7.weight"].kind == "BF16"


def test_a_type_that_no_release_is_written_from_is_refused(tmp_path):
    save_file({"w": torch.zeros(4, dtype=torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors holds F8_E4M3, "):
        stored_tensors(tmp_path / "model.safetensors")
    assert "F8_E4M3" in check_weight_files(tmp_path, CONFIG)[0]


def remove_a_shard(folder):
    sorted(folder.glob("*.safetensors"))[1].unlink()


def leave_an_old_file(folder):
    save_file({"old": torch.zeros(1)}, folder / "model.safetensors")


def swap_two_shards(folder):
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    first.rename(folder / "aside")
    second.rename(first)
    (folder / "aside").rename(second)


def spoil_the_index(folder):
    (folder / "model.safetensors.index.json").write_text("[]")


def lose_the_index(folder):
    (folder / "model.safetensors.index.json").unlink()


def cut_a_shard(folder):
    path = sorted(folder.glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("sabotage", "named"),
    [
        (remove_a_shard, "is named in model.safetensors.index.json and not there"),
        (leave_an_old_file, "model.safetensors is not named in model.safetensors.index.json"),
        (swap_two_shards, "is in one of the two only"),
        (spoil_the_index, "model.safetensors.index.json cannot be read"),
        (lose_the_index, "model.safetensors.index.json is missing, without which model-00001-of"),
        (cut_a_shard, "cannot be read"),
    ],
)
def test_shards_that_are_not_the_written_ones_are_named(tmp_path, sources, sabotage, named):
    folder, _ = folder_of(tmp_path, sources[0], 9_000)
    sabotage(folder)
    assert any(named in problem for problem in check_weight_files(folder, CONFIG))


def test_another_type_than_the_config_says_is_named(tmp_path, sources):
    folder, _ = folder_of(tmp_path, sources[0], 10**9, "bf16")
    (problem,) = check_weight_files(folder, {"dtype": "float16"})
    assert problem == "model.safetensors holds bfloat16, config.json says 'float16'."
    assert check_weight_files(folder, CONFIG) == []  # float32 holds every bfloat16 exactly


def test_a_folder_without_weights_is_named(tmp_path):
    assert check_weight_files(tmp_path, CONFIG) == ["model.safetensors is missing."]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    assert check_weight_files(tmp_path, CONFIG) == ["model.safetensors is missing."]
