"""The record of a finished training run, read once and checked.

Whatever a release cannot hold is refused here, before anything is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.modules.static_files import is_static
from codequarry.modules.tasks import DEFAULT_FAMILY, PromptFamily, get_family
from codequarry.release.module_list import (
    IN_WORDS,
    DenseLayer,
    dense_layers,
    is_releasable,
    pooling_modes,
    saved_modules,
)
from codequarry.release.static import STATIC_NEEDED, is_static_list

_NEEDED = (
    "modules.json", "config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
    "tokenizer.json", "tokenizer_config.json", "training.json",
)  # fmt: skip


def family_trained_with(training: Mapping[str, Any]) -> PromptFamily:
    """The registered prompt family that the recipe in a `training.json` names, which its model must carry.

    Records from before there were families name none: theirs is `code`. Raises UserError for a name that is
    not registered.
    """
    recipe = training.get("recipe")
    named = recipe.get("prompts", DEFAULT_FAMILY) if isinstance(recipe, dict) else DEFAULT_FAMILY
    return get_family(str(named))


@dataclass(frozen=True)
class RunFolder:
    """A folder that `train.py` finished: a saved SentenceTransformer with its record, `training.json`.

    >>> run = RunFolder.read(Path("runs/mini"))
    >>> run.pooling, run.max_length, run.dims
    ('mean', 256, (384, 256, 128, 64, 32))
    """

    folder: Path

    @classmethod
    def read(cls, folder: Path) -> "RunFolder":
        """The run in `folder`.

        Raises UserError when the run is not finished, is built of anything but sentence-transformers' own
        Transformer, Pooling, Dense and Normalize, carries other prompts than the family its recipe names,
        renders texts through a chat template, wants code of its own, or contradicts itself about its length,
        pooling or projections.
        """
        run = cls(Path(folder))
        run._refuse_unfinished()
        run._refuse_foreign_code()
        run._refuse_other_prompts()
        run._refuse_contradictions()
        return run

    @cached_property
    def config(self) -> dict[str, Any]:
        """`config.json`, the backbone's configuration."""
        return self._json("config.json")

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe in `training.json`, as a table."""
        recipe: dict[str, Any] | None = self.training.get("recipe")
        if not isinstance(recipe, dict):
            raise UserError(
                f"{self.folder}/training.json should hold the whole recipe and holds {recipe!r}, as older "
                "runs did: train it again."
            )
        return recipe

    @cached_property
    def training(self) -> dict[str, Any]:
        """`training.json` as it is published, with paths cut to their last part."""
        return public_record(self._json("training.json"))

    @cached_property
    def prompt_family(self) -> PromptFamily:
        """The prompt family the model was trained with."""
        return family_trained_with(self.training)

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files, one or several shards."""
        return sorted(self.folder.glob("model*.safetensors"))

    @property
    def hidden_size(self) -> int:
        """Dimensions of a token's vector."""
        return int(self.config["hidden_size"])

    @cached_property
    def modules(self) -> list[tuple[str, str]]:
        """(class, folder below) of each module, in order."""
        return saved_modules(self.folder)

    @property
    def is_static(self) -> bool:
        """Whether it is a static model: a row per token, and no transformer."""
        return is_static_list([name for name, _ in self.modules])

    @cached_property
    def dense(self) -> list[DenseLayer]:
        """The Dense layers after the pooling, in order."""
        return dense_layers(self.folder)

    @property
    def vector_size(self) -> int:
        """Dimensions of the full embedding."""
        return self.dense[-1].out_features if self.dense else self.hidden_size

    @property
    def dims(self) -> tuple[int, ...]:
        """The trained Matryoshka dimensions, largest first; the full size where none were trained."""
        return tuple(self.config.get("matryoshka_dimensions") or [self.vector_size])

    @cached_property
    def pooling(self) -> str:
        """The pooling mode, such as `mean` or `lasttoken`, whichever way the run spells it."""
        if self.is_static:
            return "mean"
        where = self.modules[1][1]
        saved = self._json(f"{where}/config.json")
        if isinstance(saved.get("pooling_mode"), str):
            return str(saved["pooling_mode"])
        modes = pooling_modes(saved)
        if len(modes) != 1:
            raise UserError(
                f"{self.folder}/{where}/config.json switches on {', '.join(modes) or 'no mode'}: "
                "a release pools in exactly one way."
            )
        return modes[0]

    @property
    def max_length(self) -> int | None:
        """Tokens a text is cut to, special tokens and prefix included; None for a static model: no limit."""
        if self.is_static:
            return None
        own = self._json("sentence_bert_config.json").get("max_seq_length")
        return int(own or self._json("tokenizer_config.json").get("model_max_length", 0))

    def _json(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = read_json(self.folder / name)
        return value

    def _refuse_unfinished(self) -> None:
        static = is_static(self.folder)
        missing = [
            name for name in (STATIC_NEEDED if static else _NEEDED) if not (self.folder / name).is_file()
        ]
        if not self.weight_files:
            missing.append("model.safetensors")
        if missing:
            raise UserError(
                f"{self.folder} is not a finished run: {', '.join(missing)} missing. "
                "Give its training command again, same recipe and --out: it continues where it stopped."
            )

    def _refuse_foreign_code(self) -> None:
        types = [str(row["type"]) for row in read_json(self.folder / "modules.json")]
        if foreign := [name for name in types if not name.startswith("sentence_transformers.")]:
            raise UserError(
                f"{self.folder}/modules.json names {foreign[0]}, not a class of sentence-transformers: "
                "stock libraries and servers would refuse it. "
                + (
                    "Latent attention is for comparisons; train with pooling = 'lasttoken' or 'mean'."
                    if foreign[0].endswith(".LatentAttentionPooling")
                    else "Save the run through codequarry's CodeEmbedder."
                )
            )
        if not is_releasable([name for name, _ in self.modules]):
            raise UserError(
                f"{self.folder}/modules.json holds {', '.join(types)}; a release holds {IN_WORDS}."
            )
        for name in ("config.json",) if self.is_static else ("config.json", "tokenizer_config.json"):
            if "auto_map" in self._json(name):
                raise UserError(
                    f"{self.folder}/{name} has auto_map, code to be run on loading: a release has none."
                )
        if not self.is_static and "message" in self._json("sentence_bert_config.json").get(
            "modality_config", {}
        ):
            raise UserError(
                f"{self.folder} renders texts through a chat template (modality_config has 'message'), which "
                "the release layout has no place for. Build it with codequarry.modules.build.build_model."
            )

    def _refuse_other_prompts(self) -> None:
        saved = self._json("config_sentence_transformers.json").get("prompts") or {}
        family, prompts = self.prompt_family.name, self.prompt_family.prompts()
        wrong = sorted(name for name in saved.keys() | prompts if saved.get(name) != prompts.get(name))
        if wrong:
            raise UserError(
                f"{self.folder} was trained with other prompts than the family {family!r} of codequarry has "
                f"now, at {', '.join(wrong)}: its vectors would answer to the wrong words. Train it again."
            )

    def _refuse_contradictions(self) -> None:
        if self.max_length is not None and not 1 <= self.max_length <= 10**6:
            raise UserError(
                f"{self.folder} has no maximum length (found {self.max_length}): set model_max_length in "
                "tokenizer_config.json to the tokens it was trained with."
            )
        for name, found in (("max_length", self.max_length), ("pooling", self.pooling)):
            if self.recipe.get(name) not in (None, found):
                raise UserError(
                    f"{self.folder}: the recipe says {name} {self.recipe[name]!r}, the model {found!r}. "
                    "Which one was trained cannot be told from here; train it again."
                )
        sizes = [layer.out_features for layer in self.dense]
        if self.recipe.get("projections") and list(self.recipe["projections"]) != sizes:
            raise UserError(
                f"{self.folder}: the recipe says projections {self.recipe['projections']}, the model has "
                f"Dense layers to {sizes}. Which one was trained cannot be told from here; train it again."
            )
        rope = self.config.get("rope_parameters") or {}
        if layered := [key for key, value in rope.items() if isinstance(value, dict)]:
            raise UserError(
                f"{self.folder}/config.json has rope_parameters per kind of layer ({', '.join(layered)}), "
                "which transformers 4 spells another way in each family: such a model cannot be released."
            )
        if not self.is_static and not all(
            str(name).endswith("Model") for name in self.config.get("architectures") or [""]
        ):
            raise UserError(
                f"{self.folder}/config.json has architectures {self.config.get('architectures')}: a release "
                "holds the bare backbone, a class whose name ends in Model."
            )


def stages(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The records of the runs that made a model, the first one first: each began with the one before."""
    start = record.get("start")
    return [*(stages(start) if isinstance(start, Mapping) else []), record]


def data_of_all_stages(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `data` rows of every stage, those of one source and task together.

    Pairs to draw from are those of the stage that had most, pairs drawn are the sum.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for stage in stages(record):
        for row in stage.get("data", ()):
            key = (row["source"], row["task"], row.get("licence"))
            before = found.get(key, {**row, "pairs": 0, "pairs_drawn": 0})
            counts = (before["pairs_drawn"], row.get("pairs_drawn"))
            found[key] = before | {
                "pairs": max(before["pairs"], row["pairs"]),
                "pairs_drawn": None if None in counts else sum(counts),
            }
    return list(found.values())


def public_record(record: dict[str, Any]) -> dict[str, Any]:
    """`training.json` with every absolute path, in a key or a value, cut down to its last part.

    >>> public_record({"recipe": {"data": "/home/me/pairs/train"}})
    {'recipe': {'data': 'train'}}
    """
    cut: dict[str, Any] = _cut(record)
    return cut


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {_cut(key): _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, str) and (value.startswith("~/") or Path(value).is_absolute()):
        return Path(value).name
    return value
