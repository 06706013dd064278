"""A release that was tampered with is caught, and what is wrong is named."""

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

import codequarry
from codequarry.common.environment import int8_kernels, processor
from codequarry.release.build import build
from codequarry.release.manifest import write_manifest
from codequarry.release.runtimes import NONE, Runtime
from codequarry.release.verify import verify


def change(path, edit):
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def flip_a_byte(release):
    path = release / "model.safetensors"
    weights = bytearray(path.read_bytes())
    # The high byte of a float in the middle of the file: its exponent, and so its size, changes.
    weights[len(weights) // 8 * 4 + 3] ^= 0x08
    path.write_bytes(weights)


def cut_the_weights(release):
    path = release / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def change_the_pooling(release):
    flags = {"pooling_mode_lasttoken": False, "pooling_mode_mean_tokens": True}
    change(release / "1_Pooling" / "config.json", lambda config: config.update(flags))


def change_the_pooling_and_hide_it(release):
    change_the_pooling(release)
    change(release / "config.json", lambda config: config.update(is_causal=False))


def edit_a_prompt(release):
    path = release / "config_sentence_transformers.json"
    change(path, lambda config: config["prompts"].update(qa_query="Question: "))


def swap_the_sides(release):
    def swap(config):
        saved = config["prompts"]
        saved["query"], saved["document"] = saved["document"], saved["query"]

    change(release / "config_sentence_transformers.json", swap)


def remove_the_end_of_sequence(release):
    change(release / "tokenizer.json", lambda pipeline: pipeline.update(post_processor=None))


def add_a_chat_template(release):
    (release / "chat_template.jinja").write_text("{{ messages[0].content }}")


def add_a_chat_template_to_the_config(release):
    change(release / "tokenizer_config.json", lambda config: config.update(chat_template="{{ x }}"))


def drop_a_module(release):
    change(release / "modules.json", lambda rows: rows.pop())


def name_a_class_from_elsewhere(release):
    change(release / "modules.json", lambda rows: rows[1].update(type="theirs.pooling.Pooling"))


def reverse_the_dims(release):
    change(release / "config.json", lambda config: config["matryoshka_dimensions"].reverse())


def drop_the_full_dim(release):
    change(release / "config.json", lambda config: config["matryoshka_dimensions"].pop(0))


def name_dims_that_were_not_trained(release):
    change(release / "config.json", lambda config: config.update(matryoshka_dimensions=[64, 48, 8]))


def drop_the_old_theta(release):
    change(release / "config.json", lambda config: config.pop("rope_theta"))


def ask_for_remote_code(release):
    change(release / "config.json", lambda config: config.update(auto_map={"AutoModel": "theirs.Model"}))


def add_a_script(release):
    (release / "modeling.py").write_text("")


def change_the_handler(release):
    with (release / "handler.py").open("a") as handler:
        handler.write("import theirs\n")


def let_special_tokens_through(release):
    change(release / "tokenizer_config.json", lambda config: config.update(split_special_tokens=False))


def lengthen(release):
    change(release / "sentence_bert_config.json", lambda config: config.update(max_seq_length=4096))


def truncate_in_the_tokenizer(release):
    rule = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    change(release / "tokenizer.json", lambda pipeline: pipeline.update(truncation=rule))


def spoil_the_tokenizer(release):
    (release / "tokenizer.json").write_text("{}")


def set_a_default_prompt(release):
    path = release / "config_sentence_transformers.json"
    change(path, lambda config: config.update(default_prompt_name="query"))


CAUGHT_BY_THE_FILES_ALONE = [
    (cut_the_weights, "model.safetensors cannot be read"),
    (change_the_pooling, "1_Pooling/config.json pools by mean, while config.json has is_causal true"),
    (edit_a_prompt, 'prompt qa_query is "Question: "'),
    (swap_the_sides, 'prompt document is "Find the most'),
    (swap_the_sides, 'prompt query is "Candidate'),
    (remove_the_end_of_sequence, "not with the end-of-sequence '<|endoftext|>'"),
    (add_a_chat_template, "chat_template.jinja is a chat template"),
    (add_a_chat_template_to_the_config, "tokenizer_config.json (chat_template) is a chat template"),
    (drop_a_module, "modules.json lacks sentence_transformers.models.Normalize"),
    (name_a_class_from_elsewhere, "modules.json names theirs.pooling.Pooling, a class from elsewhere"),
    (reverse_the_dims, "matryoshka_dimensions [16, 32, 64]: they must fall"),
    (drop_the_full_dim, "matryoshka_dimensions [32, 16]: they must fall, without repeats, from 64"),
    (name_dims_that_were_not_trained, "has matryoshka_dims [64, 32, 16], the release matryoshka_dimensions"),
    (drop_the_old_theta, "config.json has rope_theta null beside rope_parameters.rope_theta 1000000.0"),
    (ask_for_remote_code, "config.json has auto_map"),
    (add_a_script, "modeling.py is code"),
    (change_the_handler, "handler.py is not that of the codequarry installed here"),
    (let_special_tokens_through, "tokenizer_config.json has no split_special_tokens"),
    (lengthen, "max_seq_length 4096, more than the 512 positions"),
    (truncate_in_the_tokenizer, "tokenizer.json carries truncation"),
    (spoil_the_tokenizer, "tokenizer.json cannot be read"),
    (set_a_default_prompt, "has default_prompt_name"),
]


@pytest.mark.parametrize(("sabotage", "named"), CAUGHT_BY_THE_FILES_ALONE)
def test_sabotage_is_caught_and_named_even_with_a_new_manifest(release, sabotage, named):
    sabotage(release)
    write_manifest(release)
    verification = verify(release, progress=False, pythons=[Path("/nowhere/python")])
    assert not verification.ok
    assert any(named in problem for problem in verification.problems), verification.problems


@pytest.mark.parametrize(
    ("sabotage", "named"),
    [
        (flip_a_byte, "model.safetensors has changed: its sha256"),
        (cut_the_weights, "model.safetensors has"),
        (change_the_pooling, "1_Pooling/config.json has"),
        (add_a_chat_template, "chat_template.jinja is not in manifest.json: an extra file"),
        (lambda release: (release / "LICENSE").unlink(), "LICENSE is missing"),
        (lambda release: (release / "notes.txt").write_text(""), "notes.txt is not in manifest.json"),
    ],
)
def test_a_file_that_is_not_the_built_one_is_named_and_nothing_is_loaded(release, sabotage, named):
    sabotage(release)
    verification = verify(release, progress=False)
    assert not verification.ok
    assert verification.runtimes == ()
    assert any(problem.startswith(named) for problem in verification.problems), verification.problems


def give_another_theta(release):
    def edit(config):
        config["rope_theta"] = config["rope_parameters"]["rope_theta"] = 10_000.0

    change(release / "config.json", edit)


def swap_two_tokens(release):
    def edit(pipeline):
        vocabulary = pipeline["model"]["vocab"]
        vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]

    change(release / "tokenizer.json", edit)


def test_what_no_file_betrays_the_golden_vectors_do(release):
    flip_a_byte(release)
    write_manifest(release)
    verification = verify(release, progress=False)
    for runtime in verification.runtimes:
        assert "from the golden vector, 1e-05 allowed" in runtime.problems[0]
        assert runtime.problems[0].startswith(runtime.name)
    assert verification.table().count("not ok") == len(verification.runtimes) >= 2


@pytest.mark.parametrize("sabotage", [give_another_theta, swap_two_tokens, change_the_pooling_and_hide_it])
def test_one_runtime_is_enough_to_tell(release, only, sabotage):
    sabotage(release)
    write_manifest(release)
    only("transformers")
    (problem, *_) = verify(release, progress=False).problems
    assert problem.startswith("transformers ")
    assert "from the golden vector, 1e-05 allowed" in problem


@pytest.fixture
def only(monkeypatch):
    """Let `verify` know this one kind of runtime."""
    from codequarry.release import runtimes as room

    return lambda name: monkeypatch.setattr(room, "KINDS", [kind for kind in room.KINDS if kind.name == name])


def graph_of_another_model(path):
    """A graph with the right names that gives every text one vector."""
    from onnx import TensorProto, helper, save

    ids, mask = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    )
    out = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", 64])
    row = helper.make_tensor("row", TensorProto.FLOAT, [1, 64], [0.125] * 64)
    nodes = [
        helper.make_node("Constant", [], ["row"], value=row),
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
        helper.make_node("Shape", ["input_ids"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "one"], ["repeats"], axis=0),
        helper.make_node("Tile", ["row", "repeats"], ["sentence_embedding"]),
    ]
    graph = helper.make_graph(nodes, "another", [ids, mask], [out])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (graph_of_another_model, "from the golden vector, 1e-05 allowed"),
        (lambda path: path.write_bytes(b"nonsense" * 99), "could not load the folder"),
    ],
)
def test_a_graph_that_is_not_of_these_weights_is_named(release, only, write, named):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    (release / "onnx").mkdir()
    write(release / "onnx" / "model.onnx")
    write_manifest(release)
    only("onnxruntime")
    (problem, *_) = verify(release, progress=False).problems
    assert problem.startswith("onnxruntime ")
    assert named in problem


@pytest.mark.parametrize(
    ("reader", "unread"),
    [
        ("transformers", "onnx/model.onnx and onnx/model_quantized.onnx"),
        ("openvino", "onnx/model_quantized.onnx"),
    ],
)
def test_a_graph_that_nothing_here_can_read_is_not_passed_over(release, hide, monkeypatch, reader, unread):
    (release / "onnx").mkdir()
    for name in ("model.onnx", "model_quantized.onnx"):
        (release / "onnx" / name).write_bytes(b"graph")
    hide(release)
    room = importlib.import_module("codequarry.release.verify")
    monkeypatch.setattr(room, "runtimes", lambda folder, python, **_: [Runtime(reader, python)])
    (problem,) = verify(release, progress=False).problems
    assert problem.startswith(f"No runtime here read {unread}: pip install onnxruntime")


def test_the_running_python_needs_no_runtime_where_a_named_one_has_it(built, monkeypatch):
    room = importlib.import_module("codequarry.release.verify")
    own, other = Path(sys.executable), Path("/other/python")
    nothing = Runtime(NONE, own, problems=("it has none",))
    answers = {
        own: [nothing],
        other: [Runtime("llama-cpp-python", other, "f16", {"llama-cpp-python": "0.3"})],
    }
    monkeypatch.setattr(room, "runtimes", lambda folder, python, **_: answers[python])
    assert verify(built, pythons=[other], progress=False).ok
    assert verify(built, pythons=[own, other], progress=False).problems == nothing.problems
    answers[other] = [Runtime(NONE, other, problems=("neither has it",))]
    assert len(verify(built, pythons=[other], progress=False).problems) == 2


@pytest.mark.parametrize("name", ["pipe", "config.json"])
def test_a_pipe_is_named_and_never_opened(release, name):
    (release / name).unlink(missing_ok=True)
    os.mkfifo(release / name)
    assert any(problem.startswith(name) for problem in verify(release, progress=False).problems)


def test_the_embedded_model_has_every_field_and_tensor_that_is_asked_for(only):
    only("nothing")
    verification = verify(Path(codequarry.__file__).parent / "models" / "mini", progress=False)
    assert len(verification.problems) == 1
    assert "has none of" in verification.problems[0]


def test_an_untouched_release_is_verified(built):
    verification = verify(built, progress=False)
    assert verification.ok, verification.table()
    assert {row.kind for row in verification.runtimes} == {"sentence-transformers", "transformers"}
    assert max(row.worst_absolute_difference for row in verification.runtimes) < 1e-5
    (exception,) = verification.exceptions
    assert "text-embeddings-inference" in exception
    assert "<|endoftext|>, <|pad|> inside a text" in exception
    assert verification.table().endswith(f"{built}: verified")
    assert f"\nprocessor: {processor()}, int8 kernels {int8_kernels()}\n" in verification.table()
    assert verification.record("verify")["hardware"]["int8_kernels"] == int8_kernels()


@pytest.mark.exhaustive  # test_projections.py verifies one in bf16, tests/test_main.py the base from bf16
def test_the_embedded_base_is_verified_in_bf16(encoder_run, tmp_path):
    release = build(encoder_run, tmp_path / "mini", dtype="bf16", in_memory="bf16", progress=False)
    verification = verify(release, progress=False)
    assert verification.ok, verification.table()
    assert [row.precision for row in verification.runtimes] == ["bfloat16", "float32"] * 2
    assert "[SEP]" in verification.exceptions[0]


@pytest.mark.exhaustive  # tests/test_main.py builds and verifies such a release by the command
def test_the_embedded_base_in_bf16_on_disk_is_verified_as_float32(encoder_run, tmp_path):
    release = build(encoder_run, tmp_path / "mini", dtype="bf16", in_memory="fp32", progress=False)
    verification = verify(release, progress=False)
    assert verification.ok, verification.table()
    assert {row.precision for row in verification.runtimes} == {"float32"}
    assert verification.runtimes[0].worst_absolute_difference < 1e-5
    assert (release / "model.safetensors").stat().st_size < 46e6


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        verify(tmp_path / "nothing")
