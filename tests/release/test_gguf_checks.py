"""What a GGUF file says of itself, changed, is caught and named, the manifest renewed."""

import json

import pytest

from codequarry.modules.tasks import CODE
from codequarry.release import gguf_tokenizer
from codequarry.release.gguf_checks import check_gguf, is_gguf
from codequarry.release.gguf_export import export_gguf
from codequarry.release.verify import verify

gguf = pytest.importorskip("gguf", reason="GGUF is an extra: pip install 'codequarry[gguf]'")


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
    write = gguf_tokenizer.write_tokenizer

    def with_template(writer, release, config):
        write(writer, release, config)
        writer.add_chat_template("{{ messages }}")

    monkeypatch.setattr("codequarry.release.gguf_export.write_tokenizer", with_template)
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
