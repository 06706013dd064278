"""A GGUF file dequantised is what transformers makes of it: weights, logits, tokens."""

import inspect
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer, Qwen2Tokenizer
from transformers.utils import logging as transformers_logging

from codequarry.common.files import one_process_at_a_time
from codequarry.modules import gguf_backbone
from codequarry.modules.backbone import GGUF_FOLDER, resolve_backbone
from codequarry.modules.build import build_model
from codequarry.modules.gguf_backbone import (
    RECORD,
    dequantise,
    is_complete,
    sha256_of,
    source_sha256,
)

gguf = pytest.importorskip("gguf", reason="GGUF is read with an extra: pip install 'codequarry[train]'")

from gguf_oracles import (  # noqa: E402
    FUNCTIONS,
    LOOKALIKES,
    UNUSUAL,
    check_against_transformers,
    check_config,
    loaded,
)
from small_gguf import CONTEXT, OTHERS, ROWS, SPECIAL, merges_of, write_small_gguf  # noqa: E402


@pytest.fixture(scope="module")
def folder(small_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small file, dequantised."""
    folder = tmp_path_factory.mktemp("backbones") / "small"
    dequantise(small_gguf, folder, {"sha256": sha256_of(small_gguf)})
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(GGUF_FOLDER, raising=False)
    return tmp_path / "cache/backbones"


def small_tokenizer() -> Any:
    return Qwen2Tokenizer().train_new_from_iterator([inspect.getsource(inspect)], 600)


def test_weights_logits_and_continuations_are_those_of_transformers(small_gguf: Path, folder: Path) -> None:
    check_against_transformers(small_gguf, folder, tokens=8)


def test_a_model_built_on_it_reports_no_key_but_what_is_there_by_mistake(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The head, which a language model's file has and no embedding reads, is expected; another key is not."""
    from safetensors.torch import load_file, save_file

    assert "lm_head.weight" in json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    transformers_logging.enable_propagation()
    try:
        build_model(str(folder), max_length=64, device="cpu")
        assert "LOAD REPORT" not in caplog.text
        shutil.copytree(folder, tmp_path / "more")
        (file,) = (tmp_path / "more").glob("*.safetensors")
        save_file(load_file(file) | {"model.stray.weight": torch.ones(2)}, file, metadata={"format": "pt"})
        index = json.loads((tmp_path / "more/model.safetensors.index.json").read_text())
        index["weight_map"]["model.stray.weight"] = file.name
        (tmp_path / "more/model.safetensors.index.json").write_text(json.dumps(index))
        build_model(str(tmp_path / "more"), max_length=64, device="cpu")
        assert "stray.weight" in caplog.text
        assert "lm_head" not in caplog.text
    finally:
        transformers_logging.disable_propagation()


def test_the_small_file_has_the_types_of_the_real_one(folder: Path) -> None:
    record = json.loads((folder / RECORD).read_text())
    assert record["quantisation"].keys() == {"F32", "Q4_K", "Q5_0", "Q6_K", "Q8_0"}


def test_the_configuration_names_no_file_and_no_quantisation(folder: Path) -> None:
    assert check_config(folder)["max_position_embeddings"] == CONTEXT
    assert not (folder / "chat_template.jinja").exists()


def test_weights_are_cut_into_files_whose_index_names_each(
    small_gguf: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_backbone, "_SHARD", 1_000_000)
    dequantise(small_gguf, tmp_path / "cut", {"sha256": "0"})
    files = sorted(file.name for file in (tmp_path / "cut").glob("*.safetensors"))
    assert len(files) > 2
    index = json.loads((tmp_path / "cut/model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(files)
    whole, cut = loaded(folder).state_dict(), loaded(tmp_path / "cut").state_dict()
    assert all(values.equal(cut[name]) for name, values in whole.items())


def test_a_large_tensor_dequantised_in_pieces_is_the_same(
    small_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_backbone, "_PIECE", 5_000)
    for tensor in gguf.GGUFReader(small_gguf).tensors:
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        found = gguf_backbone._dequantised(tensor)
        assert found.shape == expected.shape
        assert (found == expected).all()


def test_without_a_head_in_the_file_it_is_the_embedding_which_is_stored_once(tmp_path: Path) -> None:
    source = write_small_gguf(tmp_path / "tied.gguf", small_tokenizer(), head=False)
    dequantise(source, tmp_path / "tied", {"sha256": "0"})
    index = json.loads((tmp_path / "tied/model.safetensors.index.json").read_text())
    assert "lm_head.weight" not in index["weight_map"]
    assert json.loads((tmp_path / "tied/config.json").read_text())["tie_word_embeddings"] is True
    check_against_transformers(source, tmp_path / "tied", tokens=4)


def test_llama_whose_rows_are_stored_in_another_order(tmp_path: Path) -> None:
    source = write_small_gguf(tmp_path / "llama.gguf", small_tokenizer(), architecture="llama")
    dequantise(source, tmp_path / "llama", {"sha256": "0"})
    check_against_transformers(source, tmp_path / "llama", tokens=4)


def test_gemma_3_whose_norms_and_tokens_are_stored_otherwise(tmp_path: Path) -> None:
    source = write_small_gguf(tmp_path / "gemma.gguf", Qwen2Tokenizer(), architecture="gemma3")
    dequantise(source, tmp_path / "gemma", {"sha256": "0"})
    check_against_transformers(source, tmp_path / "gemma", tokens=4)
    config = json.loads((tmp_path / "gemma/config.json").read_text())
    assert (config["architectures"], config["rms_norm_eps"]) == (["Gemma3ForCausalLM"], 1e-6)
    assert config["layer_types"] == ["sliding_attention"] * 2
    assert (config["head_dim"], config["sliding_window"]) == (64, 64)
    found = AutoTokenizer.from_pretrained(tmp_path / "gemma")
    expected = AutoTokenizer.from_pretrained(tmp_path, gguf_file="gemma.gguf")
    texts = [*FUNCTIONS, *UNUSUAL, "  return the thing", "<eos> <start_of_turn>"]
    assert found(texts)["input_ids"] == expected(texts)["input_ids"]
    assert (found.bos_token, found.eos_token, found.pad_token) == ("<bos>", "<eos>", "<pad>")


@pytest.fixture(scope="module")
def published(small_gguf: Path) -> Qwen2Tokenizer:
    """The small file's tokens in a tokenizer as Qwen publishes its own: 14 special tokens, 8 that are not."""
    fields = gguf.GGUFReader(small_gguf).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    normal = tokens[: tokens.index(SPECIAL[0])]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Qwen2Tokenizer(vocab={token: number for number, token in enumerate(normal)}, merges=merges)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in OTHERS])
    return tokenizer


@pytest.mark.parametrize("split", [False, True])
def test_token_ids_are_those_of_the_published_tokenizer(
    folder: Path, published: Qwen2Tokenizer, split: bool
) -> None:
    found = AutoTokenizer.from_pretrained(folder, split_special_tokens=split)
    published.split_special_tokens = split
    texts = [*LOOKALIKES, *UNUSUAL, *inspect.getsource(inspect).split("\n\n")]
    assert found(texts)["input_ids"] == published(texts)["input_ids"]
    assert len(found) == len(published) < ROWS, "rows that only fill up the embedding are no tokens"
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))  # what other runtimes read
    file.encode_special_tokens = split
    assert [file.encode(text).ids for text in texts] == found(texts)["input_ids"]


def test_merges_and_limit_are_the_files(small_gguf: Path, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    merges = gguf.GGUFReader(small_gguf).fields["tokenizer.ggml.merges"].contents()
    assert [" ".join(pair) for pair in merges_of(tokenizer)] == merges
    assert tokenizer.model_max_length == CONTEXT


def test_end_and_pad_are_two_tokens_and_a_chat_template_is_left_out(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert tokenizer.chat_template is None


def test_an_embedding_model_is_built_on_a_file_by_its_path(
    small_gguf: Path, folder: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = build_model(str(small_gguf), max_length=96, dims=(256, 64))
    ids = model.tokenizer("x")["input_ids"]
    assert ids[-1] == model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.tokenizer.pad_token == "<|endoftext|>"
    own = loaded(folder).model(torch.tensor([ids])).last_hidden_state[0, -1]
    expected = torch.nn.functional.normalize(own, dim=0)
    torch.testing.assert_close(
        torch.tensor(model.encode(["x"], prompt="")[0]), expected.detach(), atol=1e-6, rtol=0
    )
    (made,) = cache.glob("small-*")
    assert source_sha256(made) == sha256_of(small_gguf)


def test_only_a_folder_of_ours_has_a_source(folder: Path, small_gguf: Path, tmp_path: Path) -> None:
    assert source_sha256(folder) == sha256_of(small_gguf)
    assert source_sha256(tmp_path) is None
    (tmp_path / RECORD).write_text("[]")
    assert source_sha256(tmp_path) is None


def test_a_folder_is_written_once_and_anew_when_a_file_of_it_is_not_whole(
    small_gguf: Path, cache: Path
) -> None:
    made = resolve_backbone(str(small_gguf))
    before = (made / RECORD).stat().st_mtime_ns
    assert resolve_backbone(str(small_gguf)) == made
    assert (made / RECORD).stat().st_mtime_ns == before
    (weights,) = made.glob("*.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    assert not is_complete(made, sha256_of(small_gguf))
    assert resolve_backbone(str(small_gguf)) == made
    assert weights.read_bytes() == whole


def test_another_file_under_the_same_name_gets_a_folder_of_its_own(
    small_gguf: Path, cache: Path, tmp_path: Path
) -> None:
    first = resolve_backbone(str(small_gguf))
    other = write_small_gguf(tmp_path / "small.gguf", small_tokenizer(), seed=1)
    second = resolve_backbone(str(other))
    assert first != second
    assert (source_sha256(first), source_sha256(second)) == (sha256_of(small_gguf), sha256_of(other))


def in_a_process(source: Path, cache: Path) -> subprocess.Popen[str]:
    program = (
        "import sys; from codequarry.modules.backbone import resolve_backbone; "
        "print(resolve_backbone(sys.argv[1]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(source)],
        env=os.environ | {"CODEQUARRY_CACHE": str(cache.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_process_waits_for_the_first_and_takes_what_it_wrote(
    small_gguf: Path, folder: Path, cache: Path
) -> None:
    sha256 = sha256_of(small_gguf)
    target = cache / f"small-{sha256[:12]}"
    with one_process_at_a_time(target):
        second = in_a_process(small_gguf, cache)
        assert second.stderr is not None
        line = second.stderr.readline()
        assert line == f"Waiting for another process that is writing {target}.\n"
        shutil.copytree(folder, target)
        written = (target / RECORD).stat().st_mtime_ns
    out, err = second.communicate(timeout=120)
    assert (second.returncode, out.strip()) == (0, str(target)), err
    assert "equantising" not in err
    assert (target / RECORD).stat().st_mtime_ns == written


def test_a_disk_that_fills_up_while_writing_is_named(
    small_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(
        ValueError, match=r"small\.gguf could not be dequantised .*No space left.*CODEQUARRY_CACHE"
    ):
        resolve_backbone(str(small_gguf))
    assert not list(cache.glob("small*"))
    assert not list(cache.glob(".small*.writing"))


def test_what_a_killed_process_leaves_is_swept_by_the_next(small_gguf: Path, cache: Path) -> None:
    target = cache / f"small-{sha256_of(small_gguf)[:12]}"
    beside = target.with_name(f".{target.name}.writing")
    beside.mkdir(parents=True)
    (beside / "model-00009-of-00009.safetensors").write_bytes(b"half")
    made = resolve_backbone(str(small_gguf))
    assert made == target
    assert not beside.exists()
    assert not (made / "model-00009-of-00009.safetensors").exists()


def test_a_process_killed_while_it_holds_the_lock_lets_the_next_one_go_on(
    small_gguf: Path, cache: Path
) -> None:
    target = cache / f"small-{sha256_of(small_gguf)[:12]}"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from codequarry.common.files import one_process_at_a_time\n"
        "with one_process_at_a_time(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    start = time.monotonic()
    assert resolve_backbone(str(small_gguf)) == target
    assert time.monotonic() - start < 120


def damaged(source: Path, path: Path, kind: str) -> Path:
    content = source.read_bytes()
    if kind == "cut in its weights":
        path.write_bytes(content[: len(content) * 2 // 3])
    elif kind == "cut in its header":
        path.write_bytes(content[:5_000])
    elif kind == "a text":
        path.write_text("GGUF is a format.\n" * 40)
    elif kind == "empty":
        path.touch()
    elif kind == "counts beyond its end":
        path.write_bytes(content[:8] + b"\xff" * 7 + b"\x7f" + content[16:5_000])
    return path


@pytest.mark.parametrize(
    "kind", ["cut in its weights", "cut in its header", "a text", "empty", "counts beyond its end"]
)
def test_a_file_that_is_not_whole_is_refused_in_a_sentence(
    small_gguf: Path, cache: Path, tmp_path: Path, kind: str
) -> None:
    path = damaged(small_gguf, tmp_path / "damaged.gguf", kind)
    with pytest.raises(ValueError, match=r"damaged\.gguf cannot be read as a GGUF file .* fetch it again"):
        resolve_backbone(str(path))
    assert not [file for file in cache.iterdir() if file.suffix != ".lock"]


@pytest.mark.parametrize("architecture", ["mammoth", "qwen2moe", "whisper"])
def test_an_architecture_that_is_not_read_is_refused_in_a_sentence(
    cache: Path, tmp_path: Path, architecture: str
) -> None:
    path = write_small_gguf(tmp_path / "other.gguf", small_tokenizer(), architecture=architecture)
    with pytest.raises(
        ValueError, match=r"other\.gguf (cannot be read as a GGUF|holds \d+ of the \d+ param)"
    ):
        resolve_backbone(str(path))


def test_a_file_that_lacks_a_tensor_is_refused(cache: Path, tmp_path: Path) -> None:
    path = write_small_gguf(tmp_path / "other.gguf", small_tokenizer(), without="blk.1.ffn_up.weight")
    with pytest.raises(
        ValueError, match=r"holds 26 of the 27 parameters.* differs in model\.layers\.1\.mlp\.up_proj"
    ):
        resolve_backbone(str(path))


def test_a_link_that_leads_to_itself_and_a_file_that_is_not_there_are_refused(
    cache: Path, tmp_path: Path
) -> None:
    loop = tmp_path / "loop.gguf"
    loop.symlink_to(loop)
    for path in (loop, tmp_path / "absent.gguf"):
        with pytest.raises(ValueError, match=r"\.gguf is not a file here.* qwen2\.5-coder-0\.5b, "):
            resolve_backbone(str(path))


def test_a_missing_package_names_its_install_command(
    small_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_backbone, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"small\.gguf .* needs gguf: pip install 'codequarry\[train\]'"):
        resolve_backbone(str(small_gguf))


def test_a_disk_with_too_little_room_is_named_before_anything_is_written(
    small_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_backbone.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 0))
    with pytest.raises(ValueError, match=r"takes 0\.0 GB dequantised, and .* has 0\.0 GB left"):
        resolve_backbone(str(small_gguf))
    assert not list(cache.glob("small*"))
