"""The vectors of a teacher for the texts of a run: the model to match (`objective.matching`)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from torch.nn.functional import normalize
from tqdm import tqdm

from codequarry.common.environment import fast_autocast
from codequarry.common.errors import UserError, some
from codequarry.common.files import atomic_path, cache_folder, read_json, text_sha256, write_json
from codequarry.data.mixture import column_prompts
from codequarry.modules.backbone import resolve_backbone
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.instruction_prefix import InstructionPrefix
from codequarry.modules.packing import NAME as PACKED
from codequarry.modules.packing import embedded, packed, position_offset, use_packing
from codequarry.modules.tasks import SIDES, TASKS, prompt_name
from codequarry.training.token_cache import TokenCache

Vectors = npt.NDArray[np.float32]

_PROMPT_NAMES = {prompt_name(task, side): side for task in TASKS for side in SIDES}


class TeacherVectors:
    """The vectors in a folder that `write_teacher_vectors` has filled, held in memory.

    Arguments:
        folder: the folder.
        prompts: the teacher's own by name of ours (`teacher_prompts`); {}: it is asked without any.

    A million texts of 384 dimensions take 0.77 GB for the vectors and 0.04 GB for their index. A forked
    dataloader worker shares them; a pickled copy reads the files again.

    fingerprint, dim: of the teacher.

    Raises UserError for a folder without vectors, and for a damaged file.

    >>> TeacherVectors(Path("runs/teacher")).of(["def f(): ..."]).shape
    (1, 384)
    """

    def __init__(self, folder: Path, prompts: Mapping[str, str] | None = None) -> None:
        record, files = _record(folder), _files(folder)
        if record is None or not files:
            raise UserError(f"{folder} holds no teacher's vectors: write_teacher_vectors makes them.")
        self.folder = folder
        self.prompts = dict.fromkeys(_PROMPT_NAMES, "") | dict(prompts or {})
        self.fingerprint: str = record["teacher"]
        self.dim: int = record["dim"]
        parts = [_read(file) for file in files]
        digests = np.array([digest for found, _ in parts for digest in found], dtype=f"S{_HASH}")
        self._vectors = np.concatenate([vectors for _, vectors in parts])
        self._order = np.argsort(digests, kind="stable")
        self._digests = digests[self._order]

    def __reduce__(self) -> tuple[type["TeacherVectors"], tuple[Path, dict[str, str]]]:
        return TeacherVectors, (self.folder, self.prompts)

    def __len__(self) -> int:
        """Texts with a vector."""
        return len(self._digests)

    def of(self, texts: Sequence[str], prompt: str = "") -> Vectors:
        """The vectors of these texts behind the teacher's `prompt`, `(texts, dim)`.

        Raises UserError where one is missing.
        """
        wanted = np.array([_key(text, prompt) for text in texts], dtype=f"S{_HASH}")
        found = np.minimum(np.searchsorted(self._digests, wanted), len(self._digests) - 1)
        missing = np.flatnonzero(self._digests[found] != wanted)
        if len(missing):
            raise UserError(
                f"{len(missing)} of {len(texts)} texts have no vector in {self.folder}, the first is "
                f"{texts[missing[0]][:60]!r}: write_teacher_vectors adds them."
            )
        return self._vectors[self._order[found]].astype(np.float32)


def teacher_prompts(model: SentenceTransformer) -> dict[str, str]:
    """What a teacher puts before a text, by name of our prompts (`nl2code_query`, …).

    A model of ours has these prompts itself. Of another the `query` and `document` prompts of its folder are
    taken, for the document also under the other names that sentence-transformers reads; "" where it has none.
    """
    own = {name: prompt for name, prompt in model.prompts.items() if prompt}
    plain = {
        "query": own.get("query", ""),
        "document": next((own[name] for name in _DOCUMENT_NAMES if name in own), ""),
    }
    return {name: own.get(name, plain[side]) for name, side in _PROMPT_NAMES.items()}


_DOCUMENT_NAMES = ("document", "passage", "corpus")  # as `encode_document` tries them (read in 6.2.0)


def prompts_line(name: str, prompts: Mapping[str, str]) -> str:
    """A sentence on the prompts that a teacher is asked with. Arguments: of `teacher_prompts`."""
    different = sorted({prompt for prompt in prompts.values() if prompt})
    if not different:
        return f"teacher {name} has no prompts: it is asked with the bare texts."
    shown = some([repr(prompt if len(prompt) <= 60 else prompt[:57] + "...") for prompt in different], 4)
    without = "" if all(prompts.values()) else "; some sides have none"
    return f"teacher {name} is asked with its own prompts: {shown}{without}."


def vectors_of(name: str, texts: Mapping[str, Mapping[str, Iterable[str]]], device: str) -> TeacherVectors:
    """The teacher's vectors of these texts, each behind the teacher's own prompt for its task and side.

    They are computed once for all runs of this machine.

    Arguments:
        name: a folder, a packaged model or a Hub name.
        texts: by `source:task` and column, see `PairTrainer.texts_to_draw`.

    Raises UserError when the teacher cannot be found.
    """
    teacher = CodeEmbedder(str(resolve_backbone(name)), device=device)
    prompts = teacher_prompts(teacher)
    by_prompt: dict[str, dict[str, None]] = {}
    for part, columns in texts.items():
        for column, prompt in column_prompts(prompts, part, list(columns)).items():
            by_prompt.setdefault(prompt, {}).update(dict.fromkeys(columns[column]))
    for prompt, wanted in by_prompt.items():
        stored_vectors(teacher, wanted, device, prompt=prompt)
    return TeacherVectors(_cached(teacher), prompts)


def stored_vectors(teacher: CodeEmbedder, texts: Iterable[str], device: str, *, prompt: str = "") -> Path:
    """The folder of this machine's cache with the teacher's unit vectors of these texts behind `prompt`.

    Those that it lacks are computed: without padding, where the teacher's architecture can be packed.
    """
    folder = _cached(teacher)
    embed = partial(_embed, teacher, device, _packs(teacher), prompt)
    write_teacher_vectors(folder, texts, embed, teacher.fingerprint, prompt=prompt)
    return folder


def _cached(teacher: CodeEmbedder) -> Path:
    return cache_folder("teachers") / teacher.fingerprint[:32]


def _packs(teacher: CodeEmbedder) -> bool:
    first: Any = teacher[0]
    if not isinstance(first, InstructionPrefix):
        return False
    return first.model.config._attn_implementation == PACKED or use_packing(teacher) is None


def _embed(teacher: CodeEmbedder, device: str, packs: bool, prompt: str, texts: Sequence[str]) -> Vectors:
    """Unit vectors of texts, `(texts, dim)`.

    Of texts of up to 200 characters mini embeds 199 a second packed on one core with AVX-512, and 130 by
    `encode` in batches of 32, 75 in batches of 256.
    """
    with fast_autocast(device):
        if not packs:
            return np.asarray(teacher.encode(list(texts), prompt=prompt, normalize_embeddings=True))
        ids = TokenCache(teacher[0]).token_ids(texts, prompt)  # type: ignore[arg-type]
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        vectors, start = [], 0
        while start < len(order):
            count = max(1, _TOKENS // len(ids[order[start]]))
            rows = [ids[row] for row in order[start : start + count]]
            vectors.append(normalize(embedded(teacher, packed(rows, position_offset(teacher)))).cpu())
            start += len(rows)
    found: Vectors = np.empty((len(order), vectors[0].shape[1]), dtype=np.float32)
    found[order] = torch.cat(vectors).numpy()
    return found


_TOKENS = 2048  # of a forward pass of a teacher, each text counted as long as its longest
_PART = 4096  # texts in a file: a kill loses at most one
_RECORD = "teacher.json"
_HASH = 32  # bytes


def write_teacher_vectors(
    folder: Path,
    texts: Iterable[str],
    embed: Callable[[Sequence[str]], Vectors],
    teacher_fingerprint: str,
    *,
    prompt: str = "",
    progress: bool = True,
) -> None:
    """Compute the vectors that `folder` lacks, and store them there.

    Arguments:
        folder: made where there is none. Vectors it holds already are left as they are, so that the same
            call continues one that was killed, and a new one adds texts.
        texts: bare, without prefixes; each is embedded once, however often it occurs.
        embed: the teacher: bare texts in, `(texts, dim)` finite numbers out; it adds the prompt.
        teacher_fingerprint: identifies the teacher, e.g. `CodeEmbedder.fingerprint`.
        prompt: that `embed` adds; a text has a vector for each.
        progress: show a bar with the time left once it has taken two seconds.

    Raises UserError where the folder holds another teacher's vectors, or the teacher gives something else
    than one row of finite numbers below 65,504 per text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = _record(folder)
    if record is not None and record["teacher"] != teacher_fingerprint:
        raise UserError(
            f"{folder} holds the vectors of teacher {record['teacher']}, not of {teacher_fingerprint}: "
            "delete it, or name another folder."
        )
    known = {digest for file in _files(folder) for digest in _read(file)[0]} if record else set()
    wanted = {_key(text, prompt): text for text in texts}
    # The longest first, so that a part holds texts of one length and the time left is never too short.
    missing = sorted(wanted.keys() - known, key=lambda digest: (-len(wanted[digest]), digest))
    characters = sum(len(wanted[digest]) for digest in missing)
    with tqdm(
        total=characters,
        desc=f"the teacher embeds {len(missing):,} texts",
        unit=" characters",
        unit_scale=True,
        delay=2,
        disable=not progress,
        leave=False,
    ) as bar:
        for start in range(0, len(missing), _PART):
            part = missing[start : start + _PART]
            vectors = _checked(embed([wanted[digest] for digest in part]), len(part), record)
            if record is None:
                record = {"teacher": teacher_fingerprint, "dim": vectors.shape[1]}
                write_json(folder / _RECORD, record)
            _write(folder, part, vectors)
            bar.update(sum(len(wanted[digest]) for digest in part))


def _key(text: str, prompt: str) -> bytes:
    """Of a vector: without a prompt that of the bare text, as it was before prompts were used."""
    return text_sha256(f"{prompt}\0{text}" if prompt else text)


def _checked(vectors: Any, texts: int, record: dict[str, Any] | None) -> npt.NDArray[np.float16]:
    given = np.asarray(vectors, dtype=np.float32)
    dim = record["dim"] if record else given.shape[-1]
    if given.shape != (texts, dim):
        raise UserError(f"the teacher gave numbers of shape {given.shape} for {texts} texts of dim {dim}.")
    with np.errstate(over="ignore"):
        stored = given.astype(np.float16)
    if not np.isfinite(stored).all():
        raise UserError("the teacher gave a number that is not finite, or past 65,504, as float16 ends.")
    return stored


def _record(folder: Path) -> dict[str, Any] | None:
    return read_json(folder / _RECORD) if (folder / _RECORD).exists() else None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))  # not `.x.parquet.123`, which a kill leaves


def _write(folder: Path, digests: Sequence[bytes], vectors: npt.NDArray[np.float16]) -> None:
    pyarrow, parquet = _pyarrow()
    table = pyarrow.table(
        {
            "sha256": pyarrow.array(digests, pyarrow.binary(_HASH)),
            "vector": pyarrow.FixedSizeListArray.from_arrays(vectors.reshape(-1), vectors.shape[1]),
        }
    )
    # Named after its content: of two runs that compute the same part at once, either may come last.
    file = folder / f"{text_sha256(b''.join(digests).hex()).hex()[:24]}.parquet"
    with atomic_path(file) as temporary:
        parquet.write_table(table, temporary, compression="none", use_dictionary=False)


def _read(file: Path) -> tuple[list[bytes], npt.NDArray[np.float16]]:
    pyarrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(file).combine_chunks()
        vector = table["vector"].chunk(0)
        numbers = vector.flatten().to_numpy(zero_copy_only=False)
        return table["sha256"].to_pylist(), numbers.reshape(len(table), -1)
    except (pyarrow.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{file} is damaged ({error}): delete it, and its texts are embedded again."
        ) from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError("a teacher's vectors need pyarrow: pip install 'codequarry[train]'") from None
    return pyarrow, parquet
