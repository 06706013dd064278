"""The rows of the catalogue: where texts come from, under which licence, and how they are read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from codequarry.common import files
from codequarry.common.errors import UserError
from codequarry.data.eval_set import EvalSet
from codequarry.data.pair import Pair

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)


@dataclass(frozen=True)
class Licence:
    """One licence of texts.

    spdx: its SPDX identifier, or `LicenseRef-…` where SPDX has none.
    commercial: whether a model trained on such text may be used commercially.
    share_alike: whether what is derived from the text must carry the same licence.
    redistributable: whether the text itself may be passed on.
    """

    spdx: str
    commercial: bool
    share_alike: bool = False
    redistributable: bool = True


@dataclass(frozen=True)
class Git:
    """Files of a git repository at one commit.

    repository: `owner/name` on GitHub.
    commit: 40 hex digits.
    paths: patterns as in `.gitignore`; () for every file.
    """

    repository: str
    commit: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hub:
    """Records of a data set on the Hugging Face Hub.

    revision: commit; None: the first build writes the newest one to a lock file.
    config: name of the configuration; None for the default one.
    """

    dataset: str
    split: str = "train"
    config: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Distribution:
    """The source distribution (`.tar.gz`) of a Python package; it is unpacked and never run."""

    package: str
    version: str
    sha256: str


Where = Git | Hub | Distribution
Files = Iterable[tuple[str, bytes]]  # path, with `owner/name/` or `package/` in front, and content
Records = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class TrainSource:
    """One source of training pairs.

    name: as pairs and file names spell it.
    tasks: of the five, those it has pairs for.
    where: one or more places; `read` gets the files (Git, Distribution) or records (Hub) of all of them.
    licence: SPDX identifier, a key of `LICENCES`.
    languages: programming languages in lower case.
    size: pairs that the last build gave, before cleaning; None where it was not built yet.
    note: attribution, doubts, differences from earlier builds.
    """

    name: str
    tasks: tuple[str, ...]
    where: tuple[Where, ...]
    licence: str
    languages: tuple[str, ...]
    read: Callable[[Any], Iterator[Pair]]
    size: int | None = None
    note: str = ""


@dataclass(frozen=True)
class EvalSource:
    """One evaluation set.

    mirrors: the MTEB task that it replaces, "" where it is our own.
    faithful: how far scores may be compared with that task's, in one sentence.
    queries, documents: how many the last build gave.
    in_mean: False for a saturated set, left out of means.
    """

    name: str
    task: str
    where: tuple[Where, ...]
    licence: str
    languages: tuple[str, ...]
    read: Callable[[Any], EvalSet]
    mirrors: str = ""
    faithful: str = ""
    queries: int | None = None
    documents: int | None = None
    in_mean: bool = True


@dataclass(frozen=True)
class PaperSet:
    """One of the 33 training sets of jina-code-embeddings (arXiv 2508.21290, Tables 3-4).

    name: as the paper spells it.
    task: of our five, the one the paper trains it for.
    licence: SPDX identifier, a key of `LICENCES`; LicenseRef-unclear may not be trained on by default.
    language: of the pairs that it is read as; "" where this package has no reader.
    where: its places on the Hub; () where none is known to be the same.
    synthetic: whether a language model wrote the texts.
    replaced_by: names of our own rows that teach the same; () where none does.
    """

    name: str
    task: str
    licence: str
    language: str = ""
    where: tuple[Hub, ...] = ()
    synthetic: bool = False
    replaced_by: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Repository:
    """One repository to mine.

    name: `owner/name` on GitHub.
    commit: 40 hex digits.
    licence: SPDX identifier, a key of `LICENCES`; of an `A OR B` the one that is taken here.
    language: the one most of it is written in, in lower case.
    """

    name: str
    commit: str
    licence: str
    language: str


@dataclass(frozen=True)
class HeldOut:
    """One repository that is kept away from training.

    repository: `owner/name`; `owner/*` for all of an owner's.
    reason: what it is kept for.
    parts: whether a training source may read a part of it that evaluation does not use, by a reader of its
        own; mining it is refused all the same.
    common_name: whether unrelated repositories have the same name, so that the owner decides. Otherwise the
        name alone is refused: a fork holds the same code.
    """

    repository: str
    reason: str
    parts: bool = False
    common_name: bool = False


def read_rows(file: Path, row: "type[Row]") -> "tuple[Row, ...]":
    """The rows of a table of the catalogue; places in it are on the Hub. Raises as `files.read_rows` does."""
    return files.read_rows(file, row, lambda cell: Hub(**cell) if isinstance(cell, dict) else cell)


LICENCES: Mapping[str, Licence] = MappingProxyType(
    {row.spdx: row for row in read_rows(Path(__file__).with_name("licences.toml"), Licence)}
)


def get_licence(spdx: str) -> Licence:
    """The licence with this SPDX identifier.

    Raises UserError for one without a row.
    """
    if spdx in LICENCES:
        return LICENCES[spdx]
    raise UserError(
        f"{spdx!r} is no licence known here: pass one of {', '.join(LICENCES)}, or give it a row in "
        "data/catalog/licences.toml."
    )
