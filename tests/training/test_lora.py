"""LoRA: on a frozen backbone, resumed bit by bit, merged into plain weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, set_seed

from codequarry.common.files import write_json
from codequarry.modules.adapter_folder import AdapterBase, write_base
from codequarry.modules.backbone import DecoderShape
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.random_backbone import write_random_backbone
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.training import lora
from codequarry.training.build import prepare_model
from codequarry.training.lora import (
    add_adapter,
    has_adapter,
    merge_adapter,
    read_adapter,
    save_adapter,
    start_from,
)
from codequarry.training.record import start_record
from codequarry.training.trainer import PairTrainer

VERBS = ["read", "sort", "parse", "close", "join", "split", "open", "count"]
QUERIES = [f"{verb} the {noun} of a file" for verb in VERBS for noun in ("lines", "words")]
DOCUMENTS = [f"def {verb}_{noun}(x):\n    return x.{verb}()" for verb in VERBS for noun in ("lines", "words")]


def adapted(
    backbone: Path, *, dtype: str = "float32", pooling: Any = "lasttoken", **settings: Any
) -> CodeEmbedder:
    set_seed(3)
    model = build_model(str(backbone), pooling=pooling, max_length=96, dtype=dtype, device="cpu")
    add_adapter(model, rank=4, alpha=8.0, **settings)
    return model


def with_something_learned(model: CodeEmbedder) -> CodeEmbedder:
    """B starts at zero, where an adapter adds nothing."""
    chance = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.copy_(torch.randn(weights.shape, generator=chance) / 20)
    return model


def trainer(model: CodeEmbedder, out: Path, steps: int, *, bf16: bool = False) -> PairTrainer:
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=8,
        max_steps=steps,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        save_steps=2,
        bf16=bf16,
        use_cpu=True,
        dataloader_drop_last=True,
        report_to="none",
        disable_tqdm=True,
    )
    sources = {"s:nl2code": Dataset.from_dict({"query": QUERIES, "document": DOCUMENTS})}
    loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=4)
    return PairTrainer(model=model, args=arguments, train_dataset=sources, loss=loss)


def vectors(model: SentenceTransformer) -> Tensor:
    found = model.encode(QUERIES, prompt="", convert_to_tensor=True)
    assert isinstance(found, Tensor)
    return found.float()


def weights_of(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: weights.detach().clone() for name, weights in model.named_parameters()}


@pytest.fixture(scope="module")
def stored_in_bf16(small_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone as Qwen publishes it: bf16 on disk."""
    folder = tmp_path_factory.mktemp("bf16") / "backbone"
    shape = DecoderShape(hidden_size=64, layers=2, heads=4, kv_heads=2, intermediate_size=128, vocabulary=600)
    tokenizer = AutoTokenizer.from_pretrained(small_decoder)
    return write_random_backbone(folder, shape, tokenizer, seed=1, dtype="bfloat16")


def test_an_untrained_adapter_changes_no_vector(small_decoder: Path) -> None:
    plain = build_model(str(small_decoder), max_length=96, device="cpu")
    assert torch.equal(vectors(adapted(small_decoder)), vectors(plain))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cached_training_moves_the_adapter_and_nothing_else(
    dtype: str, small_decoder: Path, tmp_path: Path
) -> None:
    model = adapted(small_decoder, dtype=dtype)
    before = weights_of(model)
    trainer(model, tmp_path, 3).train()
    moved = {name for name, weights in model.named_parameters() if not torch.equal(weights, before[name])}
    assert moved == {name for name in before if "lora_" in name}
    assert {before[name].dtype for name in moved} == {torch.float32}
    assert {before[name].dtype for name in before.keys() - moved} == {getattr(torch, dtype)}


@pytest.mark.parametrize(("dtype", "autocast"), [("float32", False), ("float32", True), ("bfloat16", True)])
def test_the_cached_gradient_equals_the_plain_one(dtype: str, autocast: bool, small_decoder: Path) -> None:
    model = with_something_learned(adapted(small_decoder, dtype=dtype))
    found = []
    for loss in (
        MultipleNegativesRankingLoss(model),
        CachedMultipleNegativesRankingLoss(model, mini_batch_size=5),
    ):
        model.zero_grad()
        columns = [model.preprocess(QUERIES), model.preprocess(DOCUMENTS)]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss(columns, torch.empty(0))
            value.backward()
        found.append(
            {name: weights.grad for name, weights in model.named_parameters() if weights.requires_grad}
        )
    plain, cached = found
    for name, expected in plain.items():
        assert expected is not None
        assert cached[name] is not None, f"{name} got no gradient"
        error = (cached[name] - expected).norm() / expected.norm()
        assert error < (0.1 if autocast else 1e-5), f"{name}: {error:.2g}"


def test_a_resumed_run_ends_in_the_same_weights_as_an_uninterrupted_one(
    small_decoder: Path, tmp_path: Path
) -> None:
    def fresh() -> CodeEmbedder:
        return adapted(small_decoder, dropout=0.1, pooling="latentattention")

    whole = fresh()
    trainer(whole, tmp_path / "whole", 6).train()
    trainer(fresh(), tmp_path / "halves", 2).train()
    resumed = with_something_learned(fresh())
    trainer(resumed, tmp_path / "halves", 6).train(
        resume_from_checkpoint=str(tmp_path / "halves/checkpoint-2")
    )
    expected = weights_of(whole)
    assert all(torch.equal(weights, expected[name]) for name, weights in resumed.named_parameters())


@pytest.mark.parametrize("pooling", ["lasttoken", "latentattention"])
def test_a_checkpoint_holds_the_adapter_only_and_gives_it_back_bit_by_bit(
    pooling: str, stored_in_bf16: Path, tmp_path: Path
) -> None:
    """sentence-transformers' own way back rounds it to what the backbone is stored in."""
    model = with_something_learned(adapted(stored_in_bf16, pooling=pooling))
    model.save(str(tmp_path))
    assert (tmp_path / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "model.safetensors").exists()
    back = adapted(stored_in_bf16, pooling=pooling)
    for weights in back.parameters():
        if weights.requires_grad:
            torch.nn.init.zeros_(weights)
    read_adapter(back, tmp_path)
    expected = weights_of(model)
    assert all(torch.equal(weights, expected[name]) for name, weights in back.named_parameters())


def test_an_adapter_is_added_saved_and_read_whichever_peft_transformers_asks_for(
    small_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers 5.24.0 asks for peft 0.22 when the newest release was 0.21.2."""
    monkeypatch.setattr("transformers.integrations.peft.MIN_PEFT_VERSION", "999")
    model = with_something_learned(adapted(small_decoder))
    with pytest.raises(ValueError, match="999"):
        model.active_adapters()
    trainer(model, tmp_path, 2).train()
    back = adapted(small_decoder)
    read_adapter(back, tmp_path / "checkpoint-2")
    assert torch.equal(vectors(back), vectors(model))


@pytest.mark.parametrize(
    ("backbone", "dtype", "pooling"),
    [
        ("small_decoder", "float32", "lasttoken"),
        ("small_decoder", "bfloat16", "lasttoken"),
        ("small_decoder", "float32", "latentattention"),
        ("minilm", "float32", "mean"),
    ],
)
def test_the_merged_model_equals_the_adapter_model(
    backbone: str, dtype: str, pooling: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(backbone)
    model, same = (with_something_learned(adapted(folder, dtype=dtype, pooling=pooling)) for _ in range(2))
    expected = vectors(same.float())  # the adapter's sum, in the format of the merged weights
    untrained = vectors(adapted(folder, dtype=dtype, pooling=pooling).float())
    merged = merge_adapter(model)
    assert (vectors(merged) - expected).abs().max() < 1e-5
    assert (expected - untrained).abs().max() > 1e-3, "the adapter does something"
    assert {weights.dtype for weights in merged.parameters()} == {torch.float32}
    assert not [name for name in merged.state_dict() if "lora" in name or "base_layer" in name]
    assert not has_adapter(merged)


def test_a_merged_model_is_saved_as_a_stock_folder(small_decoder: Path, tmp_path: Path) -> None:
    merged = merge_adapter(with_something_learned(adapted(small_decoder)))
    merged.save(str(tmp_path))
    assert not list(tmp_path.glob("**/adapter*"))
    stock = SentenceTransformer(str(tmp_path), device="cpu")
    assert torch.equal(vectors(stock), vectors(merged))


def test_the_saved_adapter_is_what_peft_reads(small_decoder: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    model = with_something_learned(adapted(small_decoder))
    save_adapter(model, tmp_path, base="Qwen/a-backbone", revision="abc")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("Qwen/a-backbone", "abc")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    ids = model.preprocess(QUERIES[:1])["input_ids"]
    theirs = PeftModel.from_pretrained(AutoModel.from_pretrained(small_decoder), str(tmp_path)).eval()
    backbone = model.transformers_model
    assert backbone is not None
    with torch.no_grad():
        expected = backbone.eval()(input_ids=ids).last_hidden_state
        assert (theirs(input_ids=ids).last_hidden_state - expected).abs().max() < 1e-5


def test_targets_are_layers_by_their_last_name_or_the_end_of_their_path(small_decoder: Path) -> None:
    model = adapted(small_decoder, targets=("q_proj", "1.mlp.up_proj"))
    layers = {name.partition(".lora_")[0] for name in weights_of(model) if "lora_" in name}
    assert {layer.partition("layers.")[2] for layer in layers} == {
        "0.self_attn.q_proj",
        "1.self_attn.q_proj",
        "1.mlp.up_proj",
    }


def test_every_adapter_weight_of_an_encoder_gets_a_gradient(minilm: Path) -> None:
    """BERT's pooler is loaded and never used: an adapter there would make several ranks wait for ever."""
    model = with_something_learned(adapted(minilm, pooling="mean"))
    model(model.preprocess(QUERIES))["sentence_embedding"].sum().backward()
    assert all(weights.grad is not None for weights in model.parameters() if weights.requires_grad)


def other_rank(backbone: Path, folder: Path) -> None:
    model = adapted(backbone)
    model.save(str(folder))
    other = build_model(str(backbone), max_length=96, device="cpu")
    add_adapter(other, rank=2, alpha=8.0)
    read_adapter(other, folder)


def a_saved_adapter(backbone: Path, folder: Path, sha256: str | None = None) -> CodeEmbedder:
    """The model of the adapter that it leaves in `folder`, as a run or a release does."""
    model = with_something_learned(adapted(backbone))
    save_adapter(model, folder, base=str(backbone))
    write_base(folder, AdapterBase(str(backbone), None, sha256, "lasttoken", 96, (64,)))
    write_json(folder / "training.json", {"steps": 3})
    return model


def test_a_run_can_start_from_the_adapter_of_another(small_decoder: Path, tmp_path: Path) -> None:
    before = a_saved_adapter(small_decoder, tmp_path)
    recipe = read_recipe(recipe_path("nano"), ["lora.rank=4", "lora.alpha=8.0", f"lora.start={tmp_path}"])
    model = build_model(str(small_decoder), max_length=96, device="cpu")
    prepare_model(recipe, model)
    assert torch.equal(vectors(model), vectors(before))
    assert all(weights.requires_grad for name, weights in model.named_parameters() if "lora_" in name)


def test_an_adapter_of_another_file_or_shape_is_no_start(small_decoder: Path, tmp_path: Path) -> None:
    a_saved_adapter(small_decoder, tmp_path / "other", sha256="1" * 64)
    with pytest.raises(
        ValueError, match=r"trained on the file with sha256 1{64}, and the backbone's has None"
    ):
        start_from(adapted(small_decoder), str(tmp_path / "other"))
    a_saved_adapter(small_decoder, tmp_path / "own")
    wider = build_model(str(small_decoder), max_length=96, device="cpu")
    add_adapter(wider, rank=8, alpha=8.0)
    with pytest.raises(ValueError, match="holds another adapter"):
        start_from(wider, str(tmp_path / "own"))
    with pytest.raises(ValueError, match=r"base\.json cannot be read"):
        start_from(adapted(small_decoder), str(tmp_path / "absent"))


def test_a_start_brings_the_record_of_its_training(small_decoder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    a_saved_adapter(small_decoder, run / "adapter")
    assert start_record(str(run / "adapter")) == {"steps": 3}
    (run / "adapter/training.json").rename(run / "training.json")
    assert start_record(str(run / "adapter")) == {"steps": 3}, "train.py writes it above the adapter"
    (run / "training.json").unlink()
    with pytest.raises(ValueError, match="the sources and licences that it was trained on are not known"):
        start_from(adapted(small_decoder), str(run / "adapter"))
    (run / "adapter/training.json").write_text("[3]", encoding="utf-8")
    with pytest.raises(ValueError, match="holds list instead of a record"):
        start_record(str(run / "adapter"))
    (run / "adapter/training.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"training\.json cannot be read"):
        start_record(str(run / "adapter"))
    a_saved_adapter(small_decoder, run / "elsewhere")
    (run / "elsewhere/training.json").rename(run / "training.json")
    with pytest.raises(ValueError, match=r"has no training\.json"):
        start_record(str(run / "elsewhere"))  # what lies above another folder is not its own
    packaged = start_record("0.5b")
    assert packaged["data"], "the adapter in the package has its own"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda b, f: adapted(b, targets=("q_prj",)), r"no linear layer .* 'q_prj': it has q_proj, k_proj"),
        (lambda b, f: add_adapter(adapted(b), rank=2, alpha=2.0), "has an adapter already"),
        (lambda b, f: merge_adapter(build_model(str(b), device="cpu")), "no adapter to merge"),
        (lambda b, f: read_adapter(adapted(b), f), "holds no adapter"),
        (other_rank, r"is \(4, 128\) there and \(2, 128\) in this model"),
    ],
)
def test_what_cannot_be_done_is_said(
    wrong: Callable[[Path, Path], Any], sentence: str, small_decoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        wrong(small_decoder, tmp_path)


def test_a_missing_peft_is_named(small_decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install 'codequarry"):
        adapted(small_decoder)


def test_the_files_of_a_saved_adapter_are_the_same_every_time(small_decoder: Path, tmp_path: Path) -> None:
    model = with_something_learned(adapted(small_decoder))
    for name in ("a", "b"):
        save_adapter(model, tmp_path / name, base="x")
    targets = json.loads((tmp_path / "a/adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets)
    assert (tmp_path / "a/adapter_config.json").read_bytes() == (
        tmp_path / "b/adapter_config.json"
    ).read_bytes()
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("a", "b"))
    assert first.keys() == second.keys()
