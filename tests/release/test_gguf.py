"""A GGUF file is the model: llama.cpp meets the golden vectors with it, and it says how it is to be used."""

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from codequarry.__main__ import main
from codequarry.modules.tasks import CODE
from codequarry.release import gguf as gguf_export
from codequarry.release.build import build
from codequarry.release.gguf import TYPES, check_gguf, export_gguf, is_gguf
from codequarry.release.manifest import write_manifest
from codequarry.release.publish import publish
from codequarry.release.verify import verify

gguf = pytest.importorskip("gguf", reason="GGUF is an extra: pip install 'codequarry[gguf]'")

needs_llama = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama.cpp is an extra: pip install 'codequarry[gguf]'"
)


@pytest.fixture(scope="module")
def calm(decoder_run, tmp_path_factory):
    """A release with matrices as small as a trained model's; large random ones multiply what is rounded."""
    from safetensors.numpy import load_file, save_file

    run = Path(shutil.copytree(decoder_run, tmp_path_factory.mktemp("calm") / "nano"))
    weights = load_file(run / "model.safetensors")
    smaller = {
        name: array * 0.1 if "layers" in name and array.ndim == 2 else array
        for name, array in weights.items()
    }
    save_file(smaller, run / "model.safetensors", metadata={"format": "pt"})
    return build(run, run.with_name("release") / "nano", progress=False)


@pytest.fixture(scope="module")
def exported(calm, tmp_path_factory):
    types = TYPES if find_spec("llama_cpp") else ["f16"]
    return export_gguf(calm, tmp_path_factory.mktemp("gguf") / "nano-GGUF", types)


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of the GGUF folder, to be spoilt."""
    return Path(shutil.copytree(exported, tmp_path / "nano-GGUF"))


def test_a_bar_follows_llama_cpps_own_count_of_tensors():
    with tqdm(disable=True) as bar:
        for line in (
            "llama_model_quantize_impl: 290 tensors\n",
            "[  12/ 290] blk.0.attn_q.weight - [ 896]\n",
        ):
            gguf_export._advance(bar, line)
    assert bar.total == 290


@needs_llama
def test_every_type_meets_the_golden_vectors_in_llama_cpp(exported):
    verification = verify(exported, progress=False)
    assert verification.ok, verification.table()
    assert {(row.kind, row.precision) for row in verification.runtimes} == {
        ("llama-cpp-python", name) for name in TYPES
    }
    assert any("does not compose letters" in exception for exception in verification.exceptions)


@needs_llama
def test_other_weights_in_a_whole_file_are_caught_by_their_vectors(folder):
    path = folder / "nano-f16.gguf"
    tensor = next(
        tensor for tensor in gguf.GGUFReader(path, "r+").tensors if tensor.name == "blk.1.ffn_up.weight"
    )
    tensor.data[:] = -tensor.data
    write_manifest(folder)
    verification = verify(folder, progress=False)
    assert [problem.partition(",")[0] for problem in verification.problems][:1] == ["llama-cpp-python 0.3.36"]
    assert all("f16" in problem for problem in verification.problems)


def test_the_tensors_are_the_weights_in_float16(calm, exported):
    from safetensors.numpy import load_file

    weights = load_file(calm / "model.safetensors")
    held = {tensor.name: tensor.data for tensor in gguf.GGUFReader(exported / "nano-f16.gguf").tensors}
    assert len(held) == len(weights)
    np.testing.assert_array_equal(
        held["token_embd.weight"], weights["embed_tokens.weight"].astype(np.float16)
    )
    np.testing.assert_array_equal(held["blk.1.attn_k.bias"], weights["layers.1.self_attn.k_proj.bias"])


def test_a_file_says_how_it_is_to_be_used(exported):
    fields = {
        name: field.contents() for name, field in gguf.GGUFReader(exported / "nano-f16.gguf").fields.items()
    }
    saved = {
        name.removeprefix("codequarry.prompts."): text
        for name, text in fields.items()
        if name.startswith("codequarry.prompts.")
    }
    assert saved == CODE.prompts()
    assert fields["qwen2.pooling_type"] == gguf.PoolingType.LAST
    assert fields["tokenizer.ggml.tokens"][fields["tokenizer.ggml.eos_token_id"]] == "<|endoftext|>"
    assert fields["tokenizer.ggml.add_eos_token"] is True
    assert fields["qwen2.context_length"] == 64  # what the release reads, not what its backbone could
    assert fields["codequarry.matryoshka_dimensions"] == [64, 32, 16]


@needs_llama
def test_the_snippet_of_the_card_runs_as_printed(calm, exported, monkeypatch, capsys):
    from sentence_transformers import SentenceTransformer

    card = (exported / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.S)
    monkeypatch.chdir(exported)
    exec(snippet, {})
    model = SentenceTransformer(str(calm), device="cpu")
    query = model.encode_query("parse an ISO 8601 date")
    document = model.encode_document("def parse(s): return date.fromisoformat(s)")
    assert float(capsys.readouterr().out) == pytest.approx(float(query @ document), abs=1e-3)


def test_an_encoder_is_refused_with_what_to_do_instead(encoder_run, tmp_path):
    release = build(encoder_run, tmp_path / "mini", progress=False)
    with pytest.raises(ValueError, match=r"is a bert model; GGUF is written of Qwen2 decoders only.*--onnx"):
        export_gguf(release, tmp_path / "mini-GGUF", ["f16"])
    assert not (tmp_path / "mini-GGUF").exists()


def test_the_command_refuses_an_encoder_before_it_builds_anything(encoder_run, tmp_path):
    with pytest.raises(SystemExit):
        main(["release", "build", str(encoder_run), "--out", str(tmp_path / "mini"), "--gguf", "f16"])
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_splits_otherwise_is_refused(release, tmp_path):
    path = release / "tokenizer.json"
    pipeline = json.loads(path.read_text())
    pipeline["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\s+"
    path.write_text(json.dumps(pipeline))
    with pytest.raises(ValueError, match=r"BPE split by '\\\\s\+'.*qwen2 only"):
        export_gguf(release, tmp_path / "out", ["f16"])


def test_numbers_that_float16_cannot_hold_are_refused(release, tmp_path):
    from safetensors.numpy import load_file, save_file

    weights = load_file(release / "model.safetensors")
    weights["layers.0.mlp.up_proj.weight"][3, 3] = 70_000
    save_file(weights, release / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"layers.0.mlp.up_proj.weight holds 7e\+04; float16"):
        export_gguf(release, tmp_path / "out", ["f16"])


def test_an_unknown_type_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(ValueError, match="GGUF type 'q5' is not one that is written: pass f16, q8_0, q4_k_m"):
        gguf_export.refuse_missing_gguf(["q5"])
    monkeypatch.setattr(gguf_export, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs gguf, llama_cpp: pip install 'codequarry\[gguf\]'"):
        gguf_export.refuse_missing_gguf(["q8_0"])
    gguf_export.refuse_missing_gguf([])


@needs_llama
def test_a_gguf_folder_is_published_like_a_release(exported, hub):
    there = {"tag": "v0.1.0", "really": True, "endpoint": hub.address, "progress": False}
    done = publish(exported, "org/nano-GGUF", **there)
    assert done.state == "published"
    assert {row.kind for row in done.verification.runtimes} == {"llama-cpp-python"}
    assert publish(exported, "org/nano-GGUF", **there).state == "already published"


def test_a_folder_as_it_was_written_has_nothing_wrong(built, tmp_path):
    folder = export_gguf(built, tmp_path / "nano-GGUF", ["f16"])
    assert is_gguf(folder)
    assert not is_gguf(built)
    assert check_gguf(folder) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("add_pooling_type", gguf.PoolingType.MEAN, "qwen2.pooling_type is 1, not 3."),
        ("add_add_eos_token", False, "tokenizer.ggml.add_eos_token is false, not true."),
        ("add_add_bos_token", True, "tokenizer.ggml.add_bos_token is true, not false."),
        ("add_eos_token_id", 4000, "there is no end-of-sequence among its 400 tokens"),
    ],
)
def test_a_changed_use_is_named(built, tmp_path, monkeypatch, name, value, said):
    monkeypatch.setattr(gguf.GGUFWriter, name, changed(getattr(gguf.GGUFWriter, name), value))
    folder = export_gguf(built, tmp_path / "nano-GGUF", ["f16"])
    verification = verify(folder, progress=False)
    assert verification.runtimes == ()  # not loaded
    (problem,) = verification.problems
    assert problem.startswith(f"nano-f16.gguf: {said}")


def test_swapped_prompts_are_named(built, tmp_path, monkeypatch):
    swapped = {
        "codequarry.prompts.qa_query": CODE.prefix("qa", "document"),
        "codequarry.prompts.qa_document": CODE.prefix("qa", "query"),
    }
    add = gguf.GGUFWriter.add_string
    monkeypatch.setattr(
        gguf.GGUFWriter, "add_string", lambda self, key, text: add(self, key, swapped.get(key, text))
    )
    folder = export_gguf(built, tmp_path / "nano-GGUF", ["f16"])
    problems = check_gguf(folder)
    assert [problem.partition(" is ")[0] for problem in problems] == [
        "nano-f16.gguf: codequarry.prompts.qa_query",
        "nano-f16.gguf: codequarry.prompts.qa_document",
    ]


def test_a_chat_template_is_named(built, tmp_path, monkeypatch):
    write = gguf_export.write_tokenizer

    def with_template(writer, release, config):
        write(writer, release, config)
        writer.add_chat_template("{{ messages }}")

    monkeypatch.setattr("codequarry.release.gguf.write_tokenizer", with_template)
    folder = export_gguf(built, tmp_path / "nano-GGUF", ["f16"])
    assert check_gguf(folder) == [
        "nano-f16.gguf: it has a chat template, which makes servers take it for a model that chats."
    ]


def test_a_cut_file_and_a_type_without_a_tolerance_are_named(built, tmp_path):
    folder = export_gguf(built, tmp_path / "nano-GGUF", ["f16"])
    (folder / "nano-f16.gguf").rename(folder / "nano-q2_k.gguf")
    assert "its name does not end in -f16, -q8_0, -q4_k_m" in check_gguf(folder)[0]
    whole = (folder / "nano-q2_k.gguf").read_bytes()
    (folder / "nano-q2_k.gguf").write_bytes(whole[: len(whole) // 2])
    assert "nano-q2_k.gguf cannot be read" in check_gguf(folder)[0]
    (folder / "nano-q2_k.gguf").write_bytes(b"")
    assert "nano-q2_k.gguf cannot be read" in check_gguf(folder)[0]


def test_lost_golden_vectors_are_named(built, tmp_path):
    folder = export_gguf(built, tmp_path / "nano-GGUF", ["f16"])
    (folder / "golden_vectors.json").write_text(json.dumps([]))
    assert check_gguf(folder) == ["golden_vectors.json cannot be read (TypeError)."]


def changed(method, value):
    return lambda writer, _: method(writer, value)
