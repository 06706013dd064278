import itertools
import multiprocessing
import os
import pickle
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from codequarry.modules.build import build_model
from codequarry.modules.instruction_prefix import InstructionPrefix
from codequarry.modules.tasks import CODE
from codequarry.training.token_cache import TokenCache

UGLY = [
    "def f(x):\n    return x + 1",
    "stop <|endoftext|> here <|fim_pad|> [SEP] [PAD] [CLS] </s>",
    "a\r\nb\r\n\r\nc\t\x00\x1b end",
    "Zuständigkeit 変数 🦀 e\u0301 \u202e",
    "word " * 400,
    "x" * 3000,
    "   indented, and a tail   \n",
    "def f(x):\n    return x + 1",
]
PROMPT = CODE.prompts()["nl2code_document"]


def first_module(folder: Path, pooling: Literal["mean", "lasttoken"]) -> InstructionPrefix:
    module = build_model(str(folder), pooling=pooling, max_length=96, device="cpu")[0]
    assert isinstance(module, InstructionPrefix)
    return module


@pytest.fixture(scope="module")
def transformer(small_decoder: Path) -> InstructionPrefix:
    return first_module(small_decoder, "lasttoken")


@pytest.fixture(scope="module", params=["MiniLM", "a decoder"])
def any_transformer(request: pytest.FixtureRequest, transformer: InstructionPrefix) -> InstructionPrefix:
    if request.param == "a decoder":
        return transformer
    return first_module(request.getfixturevalue("minilm"), "mean")


def expected(transformer: InstructionPrefix, texts: list[str], prompt: str = PROMPT) -> list[list[int]]:
    """One text at a time, so without any padding."""
    return [transformer.preprocess([text], prompt=prompt or None)["input_ids"][0].tolist() for text in texts]


def as_lists(ids: list[np.ndarray]) -> list[list[int]]:
    assert all(one.dtype == np.uint32 for one in ids)
    return [one.tolist() for one in ids]


def refuse_to_tokenise(cache: TokenCache, monkeypatch: pytest.MonkeyPatch) -> None:
    real = cache._transformer.preprocess

    def only_the_probe(texts: list[str], **kwargs: object) -> dict[str, object]:
        assert texts == ["x"], f"tokenised again: {texts}"
        return real(texts, **kwargs)

    monkeypatch.setattr(cache._transformer, "preprocess", only_the_probe)


@pytest.mark.parametrize("prompt", [PROMPT, ""])
def test_ids_are_those_of_preprocess_the_first_time_and_from_the_disk(
    any_transformer: InstructionPrefix, prompt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = expected(any_transformer, UGLY, prompt)
    assert max(map(len, wanted)) == 96, "one text has to be longer than the limit"
    assert as_lists(TokenCache(any_transformer, tmp_path).token_ids(UGLY, prompt)) == wanted
    again = TokenCache(any_transformer, tmp_path)
    refuse_to_tokenise(again, monkeypatch)
    assert as_lists(again.token_ids(UGLY[::-1], prompt)) == wanted[::-1]


def test_only_what_is_missing_is_tokenised_and_in_one_call(
    transformer: InstructionPrefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TokenCache(transformer, tmp_path)
    cache.token_ids(UGLY[:3], PROMPT)
    calls: list[list[str]] = []
    real = cache._transformer.preprocess
    monkeypatch.setattr(
        cache._transformer, "preprocess", lambda texts, **k: calls.append(texts) or real(texts, **k)
    )
    assert as_lists(cache.token_ids(UGLY[:5] + UGLY[3:4], PROMPT)) == expected(
        transformer, UGLY[:5] + UGLY[3:4]
    )
    assert calls == [UGLY[3:5]]


def test_another_prompt_or_another_limit_has_its_own_ids(
    transformer: InstructionPrefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TokenCache(transformer, tmp_path)
    one, two = CODE.prompts()["qa_query"], CODE.prompts()["code2nl_document"]
    assert as_lists(cache.token_ids(UGLY, one)) == expected(transformer, UGLY, one)
    assert as_lists(cache.token_ids(UGLY, two)) == expected(transformer, UGLY, two)
    monkeypatch.setattr(transformer.tokenizer, "model_max_length", 48)
    shorter = TokenCache(transformer, tmp_path)
    assert shorter.path != cache.path
    assert as_lists(shorter.token_ids(UGLY, two)) == expected(transformer, UGLY, two)
    monkeypatch.setattr(transformer.tokenizer, "split_special_tokens", False)
    assert TokenCache(transformer, tmp_path).path not in (shorter.path, cache.path)


def test_a_batch_tokenised_before_does_not_change_the_files_name(
    transformer: InstructionPrefix, tmp_path: Path
) -> None:
    before = TokenCache(transformer, tmp_path).path
    transformer.preprocess(["short", "longer " * 50])
    assert TokenCache(transformer, tmp_path).path == before


def test_the_guards_speak_also_where_all_texts_are_known(
    transformer: InstructionPrefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TokenCache(transformer, tmp_path)
    cache.token_ids(UGLY, PROMPT)
    with pytest.raises(ValueError, match="is empty"):
        cache.token_ids([UGLY[0], " \n"], PROMPT)
    with pytest.raises(ValueError, match="leave 0 for the text"):
        cache.token_ids(UGLY, "prefix " * 100)
    monkeypatch.setattr(transformer.tokenizer, "truncation_side", "left")
    with pytest.raises(ValueError, match="would lose its prefix"):
        TokenCache(transformer, tmp_path).token_ids(UGLY, PROMPT)


def test_texts_that_flash_attention_packs_are_taken_apart(
    any_transformer: InstructionPrefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import DataCollatorWithFlattening

    cache = TokenCache(any_transformer, tmp_path)
    wanted = expected(any_transformer, UGLY)
    packing = DataCollatorWithFlattening(return_flash_attn_kwargs=True)
    monkeypatch.setattr(cache._transformer, "data_collator", packing, raising=False)
    monkeypatch.setattr(cache._transformer, "can_flatten_inputs", True)
    monkeypatch.setattr(cache._transformer, "_flatten_position_offset", 0, raising=False)
    assert "cu_seq_lens_q" in cache._transformer.preprocess(UGLY)
    assert as_lists(cache.token_ids(UGLY, PROMPT)) == wanted


def test_a_worker_is_sent_the_tokenizer_and_not_the_weights(
    any_transformer: InstructionPrefix, tmp_path: Path
) -> None:
    sent = pickle.dumps(TokenCache(any_transformer, tmp_path))
    tokenizer = pickle.dumps(any_transformer.tokenizer)
    assert len(sent) < len(tokenizer) + 50_000
    assert as_lists(pickle.loads(sent).token_ids(UGLY, PROMPT)) == expected(any_transformer, UGLY)
    assert next(any_transformer.parameters()).numel(), "the model itself keeps its weights"


def _fill(cache: TokenCache, start: int, found: "multiprocessing.Queue[list[list[int]]]") -> None:
    texts = [f"text {n} of many" for n in range(60)]
    texts = texts[start:] + texts[:start]
    found.put(
        [ids.tolist() for first in range(0, 60, 6) for ids in cache.token_ids(texts[first : first + 6])]
    )


def test_processes_write_the_same_file_at_the_same_time(
    transformer: InstructionPrefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"text {n} of many" for n in range(60)]
    wanted = expected(transformer, texts, "")
    cache = TokenCache(transformer, tmp_path)
    context = multiprocessing.get_context("fork")
    queues = [context.Queue() for _ in range(4)]
    workers = [context.Process(target=_fill, args=(cache, 15 * n, queue)) for n, queue in enumerate(queues)]
    for worker in workers:
        worker.start()
    for n, queue in enumerate(queues):
        assert queue.get(timeout=60) == wanted[15 * n :] + wanted[: 15 * n]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    refuse_to_tokenise(cache, monkeypatch)
    assert as_lists(cache.token_ids(texts)) == wanted


def _write_for_ever(cache: TokenCache) -> None:
    for n in itertools.count():
        cache.token_ids([f"text {n} {part}" for part in range(20)])


def test_a_writer_killed_at_a_bad_moment_leaves_right_ids(
    transformer: InstructionPrefix, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = TokenCache(transformer, tmp_path)
    for moment in (0.02, 0.05, 0.08, 0.11, 0.14):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(cache,))
        writer.start()
        deadline = time.monotonic() + 60
        while not cache.path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(moment)
        assert writer.is_alive()
        writer.kill()
        writer.join()
    texts = [f"text {n} {part}" for n in range(3) for part in range(20)]
    assert as_lists(cache.token_ids(texts)) == expected(transformer, texts, "")
    with sqlite3.connect(cache.path) as connection:
        assert connection.execute("SELECT count(*) FROM texts").fetchone()[0] % 20 == 0, "whole batches only"
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not caplog.records


@pytest.mark.parametrize("spoil", ["garbage", "other table", "cut", "a folder", "no permission"])
def test_a_cache_that_cannot_be_used_costs_one_warning_and_never_an_id(
    transformer: InstructionPrefix, spoil: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = TokenCache(transformer, tmp_path / "cache")
    many = [f"{text} {n}" for n in range(60) for text in UGLY[:4]]
    TokenCache(transformer, tmp_path / "cache").token_ids(many, PROMPT)
    content = cache.path.read_bytes()
    if spoil == "garbage":
        cache.path.write_bytes(os.urandom(8192))
    elif spoil == "cut":
        cache.path.write_bytes(content[: len(content) // 2])
    elif spoil == "other table":
        cache.path.unlink()
        with sqlite3.connect(cache.path) as connection:
            connection.execute("CREATE TABLE texts (something TEXT)")
    elif spoil == "a folder":
        cache.path.unlink()
        cache.path.mkdir()
    else:
        cache = TokenCache(transformer, Path("/proc/nobody/writes/here"))
    for _ in range(2):
        assert as_lists(cache.token_ids(UGLY, PROMPT)) == expected(transformer, UGLY)
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        f"the token cache {cache.path} cannot be used"
    ]


def test_a_row_that_the_disk_has_changed_is_tokenised_again(
    transformer: InstructionPrefix, tmp_path: Path, change: Callable[[Path], int]
) -> None:
    cache = TokenCache(transformer, tmp_path)
    cache.token_ids(UGLY, PROMPT)
    assert change(cache.path) == len(set(UGLY))
    assert as_lists(cache.token_ids(UGLY, PROMPT)) == expected(transformer, UGLY)
    assert as_lists(TokenCache(transformer, tmp_path).token_ids(UGLY, PROMPT)) == expected(transformer, UGLY)


@pytest.fixture(params=["one bit", "cut short", "another's ids", "nothing"])
def change(request: pytest.FixtureRequest) -> Callable[[Path], int]:
    def spoil(path: Path) -> int:
        with sqlite3.connect(path) as connection:
            rows = connection.execute("SELECT key, ids FROM texts").fetchall()
            values = {
                "one bit": [bytes([ids[0] ^ 1]) + ids[1:] for _, ids in rows],
                "cut short": [ids[:-4] for _, ids in rows],
                "another's ids": [ids for _, ids in rows[1:] + rows[:1]],
                "nothing": [b"" for _ in rows],
            }[request.param]
            connection.executemany(
                "UPDATE texts SET ids = ? WHERE key = ?",
                [(value, key) for value, (key, _) in zip(values, rows, strict=True)],
            )
            return len(rows)

    return spoil


def test_the_folder_is_the_one_in_the_environment(
    transformer: InstructionPrefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path))
    assert TokenCache(transformer).path.parent == tmp_path / "tokens"
