"""The stages of a search: what each ranks, what is kept, and what is not imported."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codequarry.inference.encoder import Encoder
from codequarry.inference.open import open_static
from codequarry.search.database import database_path, open_database
from codequarry.search.first_stage import FirstStage
from codequarry.search.fusion import WEIGHTS, fuse
from codequarry.search.hits import Answers
from codequarry.search.index import read_features
from codequarry.search.query import Searcher, search


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A checkout of 60 functions whose names and words differ."""
    root = tmp_path / "many"
    root.mkdir()
    verbs = ("open", "close", "read", "write", "parse", "send")
    things = ("file", "socket", "table", "image", "date", "queue", "key", "page", "user", "token")
    for verb in verbs:
        functions = (
            f"def {verb}_{thing}(value):\n    # {verb} the {thing}\n    return {verb}(value.{thing})\n"
            for thing in things
        )
        (root / f"{verb}.py").write_text("\n\n".join(functions))
    return root


@pytest.fixture
def ask(many: Path, cache: Path) -> Callable[..., Answers]:
    def ask(model: Any, query: str = "close the socket", **options: Any) -> Answers:
        return search(query, many, model, cache=cache, progress=False, **options)

    return ask


def test_pico_ranks_every_chunk_and_says_so(ask: Any) -> None:
    hits = ask("pico", top=100).hits
    assert len(hits) == 60
    assert {hit.stage for hit in hits} == {"candidates"}
    assert hits[0].title == "close_socket"


def test_the_model_embeds_the_candidates_alone_and_ranks_them_first(ask: Any, encoder: Any) -> None:
    answers = ask(encoder, candidates=5, top=8)
    assert [hit.stage for hit in answers.hits] == ["rerank"] * 5 + ["candidates"] * 3
    second = [hit.title for hit in ask("pico", top=8).hits]
    assert {hit.title for hit in answers.hits[:5]} == set(second[:5])
    assert [hit.title for hit in answers.hits[5:]] == second[5:]
    assert len(encoder.embedded) == answers.refresh.embedded == 5


def test_the_order_of_candidates_is_the_model_s_with_a_share_of_the_second_stage(
    ask: Any, encoder: Any
) -> None:
    query = "close the socket"
    second = {hit.text: hit.score for hit in ask("pico", query, top=100).hits}
    answers = ask(encoder, query, candidates=20, top=20)
    texts = sorted(second, key=lambda text: -second[text])[:20]
    space = Encoder(encoder).space("nl2code")
    similarity = Encoder(encoder).encode_documents(texts, space) @ Encoder(encoder).encode_query(
        query, "nl2code", space
    )
    share = np.array([second[text] for text in texts])
    spread = WEIGHTS["nl2code"].second * similarity.std() / share.std()
    expected = similarity + spread * (share - share.mean())
    order = np.argsort(-expected)
    assert [hit.text for hit in answers.hits] == [texts[place] for place in order]
    np.testing.assert_allclose([hit.score for hit in answers.hits], expected[order], atol=1e-5)


def test_chunks_whose_vectors_are_known_compete_wherever_the_first_stage_puts_them(
    ask: Any, encoder: Any, many: Path, cache: Path
) -> None:
    query = "def write_page(value):\n    # write the page\n    return write(value.page)"
    before = ask(encoder, query, candidates=1, top=3)
    assert [hit.stage for hit in before.hits] == ["rerank", "candidates", "candidates"]
    assert Searcher(many, encoder, cache=cache, progress=False).embed_rest() == 60 - 1
    encoder.embedded.clear()
    after = ask(encoder, "close the socket", candidates=1, top=3)
    assert encoder.embedded == []
    best = ask(encoder, "close the socket", exhaustive=True, top=1).hits[0]
    assert best.title in {hit.title for hit in after.hits if hit.stage == "rerank"}


def test_vectors_are_shared_by_checkouts_and_survive_their_deletion(
    ask: Any, encoder: Any, many: Path, cache: Path, tmp_path: Path
) -> None:
    first = ask(encoder)
    encoder.embedded.clear()
    clone = tmp_path / "clone"
    many.rename(clone)
    answers = search("close the socket", clone, encoder, cache=cache, progress=False)
    assert encoder.embedded == []
    assert answers.hits == first.hits


def test_only_changed_texts_get_new_features(ask: Any, many: Path, cache: Path) -> None:
    assert ask("pico").refresh.embedded == 60
    file = many / "open.py"
    file.write_text(file.read_text().replace("open_file", "open_archive"))
    answers = ask("pico", "open the archive")
    assert answers.refresh.embedded == 1
    assert answers.hits[0].title == "open_archive"
    with open_database(database_path(many, cache), many) as connection:
        rows = connection.execute("SELECT COUNT(*), COUNT(DISTINCT sha256) FROM features").fetchone()
    assert rows == (60, 60)  # those of the text that is gone went with it


def test_the_second_stage_is_cosine_and_bm25_each_standardised_per_query(
    ask: Any, many: Path, cache: Path
) -> None:
    ask("pico")
    pico = open_static()
    assert pico is not None
    query = "send a token to the queue"
    with open_database(database_path(many, cache), many) as connection:
        features = read_features(connection, "code", pico.space("nl2code"))
    scores = FirstStage(features, pico).scores(query, "nl2code")
    bags = [dict(zip(*np.frombuffer(one, "<u4").reshape(2, -1), strict=True)) for one in features.bags]
    words = bm25(bags, pico.token_ids([query])[0])
    dense = features.vectors @ pico.encode_query(query, "nl2code")
    standard = [(one - one.mean()) / one.std() for one in (dense, words)]
    expected = standard[0] + WEIGHTS["nl2code"].lexical * standard[1]
    np.testing.assert_allclose((scores - dense.mean()) / dense.std(), expected, atol=1e-4)


def bm25(bags: list[dict[int, int]], query: Any) -> Any:
    """By the formula, text by text."""
    mean = sum(sum(bag.values()) for bag in bags) / len(bags)
    scores = np.zeros(len(bags))
    for token in set(query.tolist()):
        holding = sum(token in bag for bag in bags)
        rarity = np.log(1 + (len(bags) - holding + 0.5) / (holding + 0.5))
        for place, bag in enumerate(bags):
            times = bag.get(token, 0)
            scores[place] += rarity * times / (times + 1.5 * (1 - 0.75 + 0.75 * sum(bag.values()) / mean))
    return scores


def test_a_ranking_without_differences_changes_nothing() -> None:
    dense = np.array([0.1, 0.7, 0.4], np.float32)
    assert fuse(dense, np.zeros(3, np.float32), 0.5) is dense


def test_a_searcher_sees_changes_and_keeps_the_rest_in_memory(
    many: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = Searcher(many, "pico", cache=cache, progress=False)
    assert searcher.search("close the socket").hits[0].title == "close_socket"
    with monkeypatch.context() as patch:
        patch.setattr("codequarry.search.query.read_features", lambda *_: pytest.fail("read again"))
        assert searcher.search("parse the date").hits[0].title == "parse_date"
        assert searcher.search("send the user", refresh=False).hits[0].title == "send_user"
    (many / "new.py").write_text("def compress_archive(value):\n    return zip(value)\n")
    assert searcher.search("compress the archive").hits[0].title == "compress_archive"


def test_a_searcher_answers_several_threads_at_once(many: Path, cache: Path) -> None:
    searcher = Searcher(many, "pico", cache=cache, progress=False)
    found: dict[str, str] = {}

    def ask_for(thing: str) -> None:
        found[thing] = searcher.search(f"parse the {thing}").hits[0].title

    threads = [threading.Thread(target=ask_for, args=(thing,)) for thing in ("date", "image", "key", "page")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {thing: f"parse_{thing}" for thing in ("date", "image", "key", "page")}


@pytest.mark.parametrize("task", WEIGHTS)
def test_every_task_finds_something_in_three_stages(
    task: str, checkout: Path, cache: Path, encoder: Any
) -> None:
    answers = search("parse an ISO date", checkout, encoder, task=task, cache=cache, progress=False)
    assert answers.hits[0].stage == "rerank"
    assert list(answers.timings) == ["read", "index", "load", "rank", "model", "rerank"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"candidates": 0}, "candidates is 0: the model needs at least 1"),
        ({"exhaustive": True}, "a static model ranks every chunk already"),
    ],
)
def test_a_wrong_option_is_told_in_a_sentence(ask: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ask("pico", **options)


def test_a_model_that_cannot_be_loaded_is_told_when_it_is_needed(ask: Any) -> None:
    with pytest.raises(ValueError, match="is not a folder here"):
        ask("nosuch")


WITHOUT = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "sentence_transformers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

sys.meta_path.insert(0, Blocked())
from codequarry.__main__ import main
main(sys.argv[1:])
"""


def without_torch(cache: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command line in a process in which neither torch nor transformers can be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *words],
        capture_output=True, text=True, check=False, env={**os_environ(), "CODEQUARRY_CACHE": str(cache)},
    )  # fmt: skip


def os_environ() -> dict[str, str]:
    import os

    return dict(os.environ)


@pytest.mark.parametrize("model", ["pico", "mini"])
def test_search_needs_neither_torch_nor_transformers(model: str, checkout: Path, cache: Path) -> None:
    done = without_torch(cache, "search", "read an ISO date", str(checkout), "--model", model, "--json")
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)["hits"]
    assert hits[0]["title"] == "parse_date"
    assert hits[0]["stage"] == {"pico": "candidates", "mini": "rerank"}[model]


def test_what_needs_torch_names_the_command_that_installs_it(checkout: Path, cache: Path) -> None:
    done = without_torch(cache, "search", "read a date", str(checkout), "--model", "0.5b")
    assert done.returncode == 1
    assert "the model 0.5b needs" in done.stderr
    assert "Traceback" not in done.stderr


def test_timings_name_every_stage_on_standard_error(checkout: Path, cache: Path) -> None:
    done = without_torch(cache, "search", "date", str(checkout), "--model", "pico", "--timings")
    assert [line.split()[0] for line in done.stderr.splitlines()] == [
        "read", "index", "load", "rank", "model", "search",
    ]  # fmt: skip
