import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

import codequarry
from codequarry.modules.tasks import CODE
from codequarry.release.layout import PAPERS, check_file_names, write_layout
from codequarry.release.trained_run import RunFolder


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def laid_out(decoder_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("layout")
    write_layout(RunFolder.read(decoder_run), out)
    return out


def test_the_layout_gives_the_vectors_of_the_run(decoder_run, laid_out):
    texts = ["def add(a, b):\n    return a + b", "x", "stop = '<|endoftext|>'", "word " * 200]
    run, release = (SentenceTransformer(str(path), device="cpu") for path in (decoder_run, laid_out))
    for name in ("nl2code_query", "code2nl_document"):
        vectors = [model.encode(texts, prompt_name=name) for model in (run, release)]
        np.testing.assert_allclose(*vectors, atol=1e-6)


def test_class_names_are_those_every_reader_knows(laid_out):
    rows = read(laid_out / "modules.json")
    assert [row["type"] for row in rows] == [
        "sentence_transformers.models.Transformer",
        "sentence_transformers.models.Pooling",
        "sentence_transformers.models.Normalize",
    ]
    assert [row["path"] for row in rows] == ["", "1_Pooling", "2_Normalize"]


def test_pooling_is_written_as_flags(laid_out):
    pooling = read(laid_out / "1_Pooling" / "config.json")
    flags = {key: value for key, value in pooling.items() if key.startswith("pooling_mode_")}
    assert len(flags) == 6  # as sentence-transformers 3 writes them; text-embeddings-inference requires two
    assert [key for key, value in flags.items() if value] == ["pooling_mode_lasttoken"]
    assert pooling["word_embedding_dimension"] == 64
    assert pooling["include_prompt"] is True


def test_the_length_stands_where_servers_look_for_it(laid_out):
    assert read(laid_out / "sentence_bert_config.json") == {"max_seq_length": 64, "do_lower_case": False}
    assert read(laid_out / "tokenizer_config.json")["model_max_length"] == 64


def test_renamed_fields_are_there_by_both_names(laid_out):
    config = read(laid_out / "config.json")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 1e6
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert config["is_causal"] is True
    assert config["use_cache"] is False
    assert config["architectures"] == ["Qwen2Model"]
    assert config["matryoshka_dimensions"] == [64, 32, 16]


def test_prompts_are_there_and_none_is_the_default(laid_out):
    config = read(laid_out / "config_sentence_transformers.json")
    assert config["prompts"] == CODE.prompts()
    assert config["default_prompt_name"] is None
    assert config["similarity_fn_name"] == "cosine"


def test_sentence_transformers_checks_the_requirements_we_write(laid_out, tmp_path):
    from sentence_transformers.util.environment import check_version_requirements

    requirements = read(laid_out / "config_sentence_transformers.json")["requirements"]
    check_version_requirements(requirements)
    requirements["transformers"]["specifier"] = ">=999"
    with pytest.raises(ImportError, match="none older"):
        check_version_requirements(requirements)


def test_bf16_weights_are_the_run_rounded(decoder_run, tmp_path):
    write_layout(RunFolder.read(decoder_run), tmp_path, dtype="bf16")
    before = load_file(decoder_run / "model.safetensors")
    after = load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key].to(torch.bfloat16), after[key]) for key in before)
    config = read(tmp_path / "config.json")
    assert config["torch_dtype"] == config["dtype"] == "bfloat16"


def test_bf16_on_disk_may_be_float32_in_memory(decoder_run, tmp_path):
    write_layout(RunFolder.read(decoder_run), tmp_path, dtype="bf16", in_memory="fp32")
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    config = read(tmp_path / "config.json")
    assert config["torch_dtype"] == config["dtype"] == "float32"
    loaded = SentenceTransformer(str(tmp_path), device="cpu").state_dict()
    run = load_file(decoder_run / "model.safetensors")
    assert all(torch.equal(loaded[f"0.model.{key}"], run[key].bfloat16().float()) for key in run)


def test_weights_that_would_shrink_on_loading_are_refused(decoder_run, tmp_path):
    with pytest.raises(ValueError, match="half the file for nothing: pass dtype 'bf16'"):
        write_layout(RunFolder.read(decoder_run), tmp_path, in_memory="bf16")
    assert list(tmp_path.iterdir()) == []


def test_weights_in_several_files_become_one(run, tmp_path):
    from safetensors.torch import save_file

    whole = load_file(run / "model.safetensors")
    (run / "model.safetensors").unlink()
    names = sorted(whole)
    for number, part in enumerate((names[:5], names[5:]), 1):
        save_file({name: whole[name] for name in part}, run / f"model-0000{number}-of-00002.safetensors")
    (tmp_path / "out").mkdir()
    write_layout(RunFolder.read(run), tmp_path / "out")
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert whole.keys() == after.keys()
    assert all(torch.equal(whole[name], after[name]) for name in names)


def test_another_dtype_is_refused(decoder_run, tmp_path):
    with pytest.raises(ValueError, match="'int8' is not one"):
        write_layout(RunFolder.read(decoder_run), tmp_path, dtype="int8")


def test_a_release_and_the_embedded_model_have_only_files_with_a_place(built):
    assert check_file_names(built) == []
    assert check_file_names(Path(codequarry.__file__).parent / "models" / "mini") == []


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_that_is_missing_or_empty_is_named(release, name):
    for spoil in (lambda path: path.write_text(""), lambda path: path.unlink()):
        spoil(release / name)
        assert check_file_names(release) == [f"{name} is missing or empty; every release has one."]


@pytest.mark.parametrize(
    "name",
    [
        "adapter_config.json",
        "added_tokens.json",
        "special_tokens_map.json",
        "pytorch_model.bin",
        "model.onnx",
        "onnx/model_fp32.onnx",
        "vocab.txt",
        "2_Dense/config.json",
        "2_Normalize/model.safetensors",
        "sentence_roberta_config.json",
        "model-Q8_0.gguf",
    ],
)
def test_a_file_that_a_library_would_pick_up_is_named_whatever_the_manifest_says(spoilt, name):
    assert f"{name} has no place in a release" in spoilt(name, b"{}")


@pytest.mark.parametrize(
    "name", ["NOTICE", "notes.md", "plot.svg", ".eval_results/a.yaml", "onnx/model.onnx.data"]
)
def test_what_no_library_loads_may_lie_there(release, name):
    (release / name).parent.mkdir(exist_ok=True)
    (release / name).write_text("words")
    assert check_file_names(release) == []
