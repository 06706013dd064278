"""What a static model is trained from, and its training from end to end."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import codequarry
from codequarry.common.errors import UserError
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.modules.backbone import StaticShape
from codequarry.recipes.read import read_recipe
from codequarry.recipes.schema import Recipe
from codequarry.train import train
from codequarry.training.build import initial_model
from codequarry.training.static_start import _fitted, write_static_start

RECIPE = Path(__file__).parents[2] / "recipes/pico.toml"
TEXTS = ["def parseDate(text):\n    return date.fromisoformat(text)", "parse a date", "send a mail"] * 40


def small(start: str = "") -> Recipe:
    recipe = read_recipe(RECIPE)
    backbone = replace(recipe.backbone, static=StaticShape(vocabulary=300, start=start))
    return replace(recipe, backbone=backbone, matryoshka_dims=(16, 8), validation=None)


def test_the_start_is_written_once_and_read_again(tmp_path: Path) -> None:
    first = initial_model(small(), tmp_path / "lock", tmp_path / "run", TEXTS, "cpu")
    again = initial_model(small(), tmp_path / "lock", tmp_path / "run", iter(()), "cpu")
    assert first.fingerprint == again.fingerprint
    assert first.matryoshka_dims == (16, 8)
    assert first.max_seq_length is None
    other = initial_model(replace(small(), seed=43), tmp_path / "lock", tmp_path / "other", TEXTS, "cpu")
    assert other.fingerprint != first.fingerprint


def test_rows_start_as_the_teachers_vectors_of_their_tokens(tmp_path: Path) -> None:
    wide = replace(small("mini"), matryoshka_dims=(64, 8))
    folder = write_static_start(tmp_path / "backbone", wide, TEXTS, "cpu")
    rows = StaticEncoder(folder)._rows
    assert rows.std() == pytest.approx(0.1, rel=1e-3)
    vocabulary = StaticEncoder(folder)._tokenizer.get_vocab()
    mini = codequarry.load("mini", device="cpu")
    words = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2]
    teacher = mini.encode(words, prompt="")
    own = rows[[vocabulary[word] for word in words]]
    # 64 of 384 axes keep which words are near each other, and the first ones most of it.
    similar, wanted = own @ own.T, (teacher - teacher.mean(0)) @ (teacher - teacher.mean(0)).T
    assert np.corrcoef(similar.ravel(), wanted.ravel())[0, 1] > 0.9
    assert (own**2).sum(0)[0] > (own**2).sum(0)[-1]


def test_rows_of_frequent_tokens_start_shorter_by_sif(tmp_path: Path) -> None:
    plain = write_static_start(tmp_path / "plain", small(), TEXTS, "cpu")
    shape = replace(small().backbone.static, start_frequency=1e-2)  # type: ignore[type-var]
    weighted = replace(small(), backbone=replace(small().backbone, static=shape))
    folder = write_static_start(tmp_path / "weighted", weighted, TEXTS, "cpu")
    before, after = StaticEncoder(plain), StaticEncoder(folder)
    counts = np.bincount(np.concatenate(before.token_ids(TEXTS)), minlength=len(before._rows))
    expected = before._rows * (1e-2 / (1e-2 + counts / counts.sum()))[:, None]
    np.testing.assert_allclose(after._rows, 0.1 * expected / expected.std(), rtol=1e-4, atol=1e-6)


def test_fitted_rows_solve_the_least_squares_problem() -> None:
    random = np.random.default_rng(0)
    rows, wanted = random.normal(size=(6, 3)), random.normal(size=(9, 3))
    ids = [
        random.integers(0, 5, size=count) for count in (1, 2, 3, 2, 4, 5, 1, 2, 3)
    ]  # none has the last row
    means = np.stack([np.bincount(one, minlength=6) / len(one) for one in ids])
    start = rows * ((means @ rows) * wanted).sum() / ((means @ rows) ** 2).sum()
    tie = 0.3 * np.eye(6)
    expected = np.linalg.solve(means.T @ means + tie, means.T @ wanted + tie @ start)
    np.testing.assert_allclose(_fitted(rows, ids, wanted), expected, atol=1e-4)


def test_means_of_rows_start_near_the_teachers_vectors_of_short_texts(tmp_path: Path) -> None:
    words = [
        f"{a} {b}" for a in ("sort", "parse", "send", "load") for b in ("a list", "mail", "a map", "dates")
    ]
    wide = replace(small("mini"), matryoshka_dims=(64, 8))
    shape = replace(wide.backbone.static, start_texts=100)  # type: ignore[type-var]
    fitted = replace(wide, backbone=replace(wide.backbone, static=shape))
    mini = codequarry.load("mini", device="cpu").encode(words, prompt="", normalize_embeddings=True)
    wanted = mini - mini.mean(0)
    apart = []
    for name, recipe in (("plain", wide), ("fitted", fitted)):
        encoder = StaticEncoder(write_static_start(tmp_path / name, recipe, [*words, *TEXTS], "cpu"))
        means = np.stack([encoder._rows[ids].mean(0) for ids in encoder.token_ids(words)])
        similar = (means - means.mean(0)) @ (means - means.mean(0)).T
        apart.append(np.corrcoef(similar.ravel(), (wanted @ wanted.T).ravel())[0, 1])
    assert apart[1] > max(0.9, apart[0])


def test_a_teacher_with_fewer_numbers_is_refused(tmp_path: Path) -> None:
    wide = replace(small("mini"), matryoshka_dims=(512, 8))
    with pytest.raises(UserError, match="gives vectors of 384 numbers, and the static model is to have 512"):
        write_static_start(tmp_path / "backbone", wide, TEXTS, "cpu")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"max_length": 64}, "a static model reads whole texts"),
        ({"pooling": "lasttoken"}, "a static model's vector is a mean"),
        ({"projections": (16,)}, "a static model's vector is a mean"),
    ],
)
def test_what_a_static_model_has_not_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        replace(small(), **change)


def test_a_random_decoder_still_needs_its_length() -> None:
    with pytest.raises(UserError, match="need max_length, the tokens per text"):
        replace(read_recipe(RECIPE.with_name("nano.toml")), max_length=None)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two repositories, each with half of the pairs of a batch."""
    folder = tmp_path_factory.mktemp("pairs")
    words = [
        f"{verb} {what}" for verb in ("sort", "parse", "send", "load") for what in ("list", "mail", "map")
    ]
    for number, source in enumerate(("owner/one", "owner/two")):
        write_pairs(
            folder / f"{number}.jsonl.gz",
            [
                Pair(
                    "nl2code",
                    f"{word} {number}",
                    f"def f_{word.replace(' ', '_')}{number}(): ...",
                    source,
                    "python",
                )
                for word in words
            ],
        )
    return folder


def test_a_run_leaves_a_static_model_that_learned_and_may_be_resumed(pairs: Path, tmp_path: Path) -> None:
    settings = [
        f"data={pairs}", "batch_size=24", "max_steps=6", "save_steps=3", "validation=none",
        "source_weights={}", "matryoshka_dims=[16, 8]", "backbone.static.vocabulary=300",
        "backbone.static.start=", "logging_steps=1", "dropout=0.1",
    ]  # fmt: skip
    train(RECIPE, tmp_path / "run", settings=settings, logs=["none"], device="cpu")
    record = json.loads((tmp_path / "run" / "training.json").read_text(encoding="utf-8"))
    assert [row["source"] for row in record["data"]] == ["*/*"]
    states = sorted((tmp_path / "run" / "checkpoints").glob("*/trainer_state.json"))
    losses = [
        row["loss"] for row in json.loads(states[-1].read_text("utf-8"))["log_history"] if "loss" in row
    ]
    assert losses[-1] < losses[0]
    model = codequarry.load(str(tmp_path / "run"), device="cpu")
    numbers = StaticEncoder(tmp_path / "run").encode(["sort list 0"], "nl2code", "query")
    assert np.abs(model.encode_query(["sort list 0"], task="nl2code") - numbers).max() < 1e-6


def test_what_is_never_drawn_has_no_part_in_the_start(pairs: Path, tmp_path: Path) -> None:
    kept = [Pair("nl2code", f"xylophone {n}", f"def xylophone{n}(): ...", "kept", "c") for n in range(24)]
    write_pairs(tmp_path / "data/kept.jsonl.gz", kept)
    for file in pairs.glob("*.gz"):
        shutil.copy(file, tmp_path / "data")
    vocabularies = []
    for weight in (0, 1):
        settings = [
            f"data={tmp_path / 'data'}", "batch_size=24", "max_steps=2", "validation=none",
            f"source_weights={{kept = {weight}}}", "matryoshka_dims=[16, 8]", "backbone.static.start=",
            "backbone.static.vocabulary=400",
        ]  # fmt: skip
        train(RECIPE, tmp_path / str(weight), settings=settings, logs=["none"], device="cpu")
        vocabularies.append(StaticEncoder(tmp_path / str(weight))._tokenizer.get_vocab())
    assert "xylophone" not in vocabularies[0]
    assert "xylophone" in vocabularies[1]
