import dataclasses
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from codequarry.modules.adapter_folder import read_base
from codequarry.modules.backbone import ADAPTERS, gguf_backbone
from codequarry.recipes.read import read_recipe, recipe_for_base, recipe_from_record, recipe_path
from codequarry.recipes.schema import HardNegatives

SHIPPED = ["mini", "own", "own-0.5b", "nano", "0.5b-lora", "1.5b-lora", "0.5b", "1.5b"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_reads_and_survives_json(name: str) -> None:
    recipe = read_recipe(recipe_path(name))
    assert recipe.name == name
    assert recipe_from_record(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


@pytest.mark.parametrize(
    ("name", "batch", "dims"),
    [("0.5b", 512, (896, 512, 256, 128, 64)), ("1.5b", 256, (1536, 1024, 512, 256, 128))],
)
def test_the_paper_is_followed_where_it_speaks(name: str, batch: int, dims: tuple[int, ...]) -> None:
    """arXiv 2508.21290: temperature 0.05, length 512, 1500 steps, batch 512 and 256, last-token pooling."""
    recipe = read_recipe(recipe_path(name))
    assert (recipe.temperature, recipe.max_length, recipe.max_steps) == (0.05, 512, 1500)
    assert (recipe.batch_size, recipe.matryoshka_dims, recipe.pooling) == (batch, dims, "lasttoken")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_first_matryoshka_dimension_is_the_hidden_size(name: str) -> None:
    recipe = read_recipe(recipe_path(name))
    sizes = {"Qwen2.5-Coder-0.5B": 896, "Qwen2.5-Coder-1.5B": 1536}
    # else MiniLM's
    pretrained = next((size for base, size in sizes.items() if base in recipe.backbone.name), 384)
    hidden = recipe.backbone.shape.hidden_size if recipe.backbone.shape else pretrained
    assert recipe.matryoshka_dims[0] == hidden


@pytest.mark.parametrize(("name", "megabytes"), [("0.5b-lora", 17.6), ("1.5b-lora", 18.5)])
def test_an_adapter_takes_less_than_20_megabytes_in_bfloat16(name: str, megabytes: float) -> None:
    recipe, paper = read_recipe(recipe_path(name)), read_recipe(recipe_path(name.removesuffix("-lora")))
    shape = paper.backbone.shape
    assert recipe.lora is not None
    assert shape is not None
    hidden, kv = shape.hidden_size, shape.hidden_size // shape.heads * shape.kv_heads
    # query, key, value, output; gate, up, down
    layers = 2 * (hidden + hidden) + 2 * (hidden + kv) + 3 * (hidden + shape.intermediate_size)
    size = 2 * recipe.lora.rank * layers * shape.layers
    assert size / 1e6 == pytest.approx(megabytes, abs=0.05)
    assert size < 20e6
    if name == "0.5b-lora":  # the oracle: one that was trained
        held = load_file(ADAPTERS["0.5b"] / "adapter_model.safetensors").values()
        assert sum(weights.nbytes for weights in held) == size
    else:
        page = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
        assert f"adapter takes {megabytes} MB" in page


def test_the_two_adapter_recipes_differ_in_base_and_rank_alone() -> None:
    small, large = (dataclasses.asdict(read_recipe(recipe_path(name))) for name in ("0.5b-lora", "1.5b-lora"))
    assert {field for field in small if small[field] != large[field]} == {
        "name", "backbone", "matryoshka_dims", "lora",
    }  # fmt: skip
    assert small["lora"]["alpha"] / small["lora"]["rank"] == large["lora"]["alpha"] / large["lora"]["rank"]
    assert gguf_backbone(large["backbone"]["name"]) is not None


def test_a_setting_replaces_one_field_nested_ones_by_dots() -> None:
    recipe = read_recipe(
        recipe_path("0.5b"),
        [
            "max_steps=20",
            "learning_rate=1",
            "data=my/pairs",
            "backbone.weights=random",
            "matryoshka_dims=[896, 64]",
        ],
    )
    assert (recipe.max_steps, recipe.learning_rate, recipe.data) == (20, 1.0, "my/pairs")
    assert (recipe.backbone.weights, recipe.matryoshka_dims) == ("random", (896, 64))


def test_a_mixture_with_weights_and_negatives_survives_json(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = recipe_path("own").read_text(encoding="utf-8")
    file.write_text(
        text + '\n[source_weights]\ntldr = 2\n"wikisql:nl2code" = 0.5\n[hard_negatives]\nmodel = "mini"\n'
    )
    recipe = read_recipe(file, ["source_weights.tldr=3", "licences=permissive", "max_pairs_per_source=7000"])
    assert recipe.source_weights == {"tldr": 3.0, "wikisql:nl2code": 0.5}
    assert recipe.hard_negatives == HardNegatives("mini")
    assert (recipe.licences, recipe.max_pairs_per_source, recipe.mixture_exponent) == (
        "permissive",
        7000,
        0.5,
    )
    assert recipe_from_record(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("max_step=3", "'max_step' is not a field. Did you mean 'max_steps'?"),
        ("backbone.revison=x", "backbone: 'revison' is not a field. Did you mean 'revision'?"),
        ("zzz=1", "The fields are name, backbone, data"),
        ("batch_size=big", "batch_size = 'big' is str; int is expected"),
        ("batch_size=true", "batch_size = True is bool; int is expected"),
        ("batch_size=1", "batch_size = 1 in recipe mini: at least 2"),
        ("pooling=max", "pooling = 'max': pass one of 'lasttoken', 'mean'"),
        ("matryoshka_dims=384", "pass a list such as"),
        ("matryoshka_dims=[]", "matryoshka_dims is empty"),
        ("temperature=20", "it divides a cosine"),
        ("backbone.weights=random", r"need a \[backbone.shape\] table"),
        ("max_steps", "has no '='"),
        ("licences=free", "licences = 'free': pass one of 'commercial', 'permissive'"),
        ("max_pairs_per_source=0", "max_pairs_per_source = 0 in recipe mini: at least 1"),
        ("mixture_exponent=2", "from 0 \\(every source alike\\) to 1"),
        ("source_weights=3", "source_weights = 3: write a table of names and numbers"),
        ("source_weights.a=big", "source_weights: a = 'big' is str; float is expected"),
        ("source_weights.a=-1", "source_weights of 'a' in recipe mini is -1.0"),
        ("hard_negatives.per_pair=2", "hard_negatives says nothing about model"),
        ('hard_negatives={model="m", margin=1}', "margin = 1.0: a share from 0 to below 1"),
        ('hard_negatives={model="m", range_min=60}', "range_min = 60, range_max = 50"),
        ("decay_steps=5", "decay_steps = 5 with scheduler = 'linear'"),
        ("scheduler=warmup_stable_decay", "decay_steps = None with scheduler = 'warmup_stable_decay'"),
        ("memory_gb=-1", "memory_gb = -1.0"),
    ],
)
def test_a_wrong_setting_is_answered_with_a_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        read_recipe(recipe_path("mini"), [setting])


def test_a_file_that_is_not_toml_or_says_too_little_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("name = ")
    with pytest.raises(ValueError, match=r"mine.toml is not a TOML file"):
        read_recipe(file)
    file.write_text('name = "mine"')
    with pytest.raises(ValueError, match=r"mine.toml says nothing about backbone, data"):
        read_recipe(file)


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(
        ValueError,
        match=r"'micro' is neither a recipe file nor one of 0.5b, 0.5b-lora, 1.5b, 1.5b-lora, mini, nano",
    ):
        recipe_path("micro")


def test_a_short_run_of_a_recipe_that_decays_late_is_a_recipe() -> None:
    recipe = read_recipe(recipe_path("0.5b-lora"), ["max_steps=12"])
    assert (recipe.max_steps, recipe.decay_steps) == (12, 150)


def test_a_base_has_the_recipe_of_its_name_or_becomes_the_backbone() -> None:
    path, settings = recipe_for_base("own", "0.5b")
    recipe = read_recipe(path, settings)
    assert recipe.name == "own-0.5b"
    assert recipe.lora is not None
    assert recipe.lora.start == "0.5b"
    theirs = read_recipe(recipe_path("0.5b-lora"))
    assert recipe.backbone == theirs.backbone
    base = read_base(ADAPTERS["0.5b"])
    assert (recipe.pooling, recipe.max_length, recipe.matryoshka_dims) == (
        base.pooling, base.max_length, base.dims,
    )  # fmt: skip
    assert theirs.lora is not None
    assert (recipe.lora.rank, recipe.lora.alpha) == (theirs.lora.rank, theirs.lora.alpha)
    path, settings = recipe_for_base("own", 'runs/a "b"')
    assert path == recipe_path("own")
    assert read_recipe(path, settings).backbone.name == 'runs/a "b"'
    assert recipe_for_base("own", None) == (recipe_path("own"), [])
