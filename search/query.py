"""Ask a checkout a question: its index is brought in step with the files first, then searched as a cascade.

1. Static vectors and BM25 of every chunk (`index.py`), made in a second for a thousand files.
2. Both rank all chunks, fused (`first_stage.py`).
3. The best of them are embedded with the model, whose similarity ranks them anew (`rerank.py`).
"""

import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path

from codequarry.common.errors import UserError, some
from codequarry.common.tables import shown
from codequarry.data.parsing.source_report import Choice, LeftOut, SourceReport
from codequarry.inference.encoder import Encoder, TaskModel
from codequarry.inference.open import MINI, open_light, open_static
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.modules.tasks import DEFAULT_TASK, get_task
from codequarry.search.chunk import IN_WORDS, KIND_OF_TASK, Chunk, Kind
from codequarry.search.database import database_path, open_database
from codequarry.search.first_stage import FirstStage, best_first, in_order
from codequarry.search.hits import Answers, Hit, Refresh, Stage, best_of_each_unit
from codequarry.search.index import add_features, changes, count, read_chunk, read_features
from codequarry.search.refresh import read_changes
from codequarry.search.rerank import CANDIDATES, embed_everything, rerank, score_everything
from codequarry.search.sqlite_file import DamagedIndex, reading, set_aside
from codequarry.search.vector_store import open_store


class NothingToSearch(UserError):
    """A folder in which nothing was read; `left_out` says what was there."""

    def __init__(self, message: str, left_out: Sequence[LeftOut]) -> None:
        super().__init__(message)
        self.left_out = left_out


class Clock:
    """Seconds by stage, in the order in which the stages ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = self.began = time.perf_counter()

    def stage(self, name: str) -> None:
        """What passed since the last stage ended was this one's."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


class Searcher:
    """A checkout that is searched by any number of queries; what its index holds stays in memory.

    Arguments:
        root: the folder that holds the checkout. Its index is made at the first search, and only what
            changed since is read at the next.
        model: what ranks the candidates: a name or folder as in `codequarry.load`, or what that returned. A
            name is loaded in a thread while the first stage runs, without torch where that is possible. With
            a static model, such as `pico`, a search ends after the second stage.
        dims: one of the model's Matryoshka dimensions, for a name; None for all.
        cache: folder of the indexes; None for CODEQUARRY_CACHE, or else the user's cache folder.
        candidates: how many chunks the model ranks; more find answers whose words differ from the question's,
            and take longer.
        exhaustive: embed every chunk with the model and rank by it alone.
        progress: show bars on standard error while reading and embedding.
        include: patterns, as in a `.gitignore`, of files and folders that are read although they would be
            left out. exclude: patterns of those that are not read.

    Raises UserError for a root that is not a folder, fewer than one candidate, and a model that cannot be
    loaded; the last when it is first needed.

    >>> Searcher(Path("."), "pico").search("parse a date").hits[0].path
    """

    def __init__(
        self,
        root: Path,
        model: str | TaskModel | StaticEncoder = MINI,
        *,
        dims: int | None = None,
        cache: Path | None = None,
        candidates: int = CANDIDATES,
        exhaustive: bool = False,
        progress: bool = True,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        if not root.is_dir():
            kind = "a file" if root.exists() else "not there"
            raise UserError(f"{root} is {kind}: pass the folder that holds the code.")
        if candidates < 1:
            raise UserError(f"candidates is {candidates}: the model needs at least 1 chunk to rank.")
        self.root = root
        self._path = database_path(root, cache)
        self._candidates, self._exhaustive, self._progress = candidates, exhaustive, progress
        self._choice = Choice(tuple(include), tuple(exclude))
        self._given_first: StaticEncoder | None = None
        self._model: TaskModel | Future[TaskModel] | None
        static = open_static(model, dims=dims) if isinstance(model, str) else model
        if isinstance(static, StaticEncoder):
            if exhaustive:
                raise UserError("a static model ranks every chunk already: exhaustive is for other models.")
            self._given_first, self._model = static, None
        elif isinstance(model, str):
            thread = ThreadPoolExecutor(1, "load-model")
            self._model = thread.submit(open_light, model, dims=dims, many=exhaustive)
            thread.shutdown(wait=False)
        else:
            self._model = model
        self._report: SourceReport | None = None
        self._counts: dict[Kind, tuple[int, tuple[int, int, int]]] = {}
        self._held: dict[tuple[Kind, str], tuple[int, FirstStage]] = {}

    def search(self, query: str, task: str = DEFAULT_TASK, *, top: int = 10, refresh: bool = True) -> Answers:
        """The chunks that answer a query best.

        Arguments:
            query: words or code, depending on the task.
            task: one of the five; it decides which kind of chunk is searched (`chunk.KIND_OF_TASK`).
            top: how many answers at most.
            refresh: look first which files changed; False for the index as the last search left it.

        Raises UserError for a query that is blank, not UTF-8 or gives a model no token, an unknown task, a
        root that holds nothing this task searches, and a cache folder that cannot be written.
        """
        get_task(task)
        _check_query(query, top)
        try:
            return self._search(query, task, top, refresh)
        except DamagedIndex as damaged:
            set_aside(damaged.path)
            self._held.clear()
            self._counts.clear()
            return self._search(query, task, top, refresh=True)

    def embed_rest(self, task: str = DEFAULT_TASK) -> int:
        """Embed every chunk that `task` searches and that has no vector yet; returns how many texts it were.

        Later searches rank the best of them by the model too, whatever the first stage says.
        """
        model, kind = self._ready(), KIND_OF_TASK[get_task(task).name]
        if model is None:
            return 0
        with open_database(self._path, self.root) as connection:
            read_changes(connection, self.root, self._progress, self._choice)
            with open_store(self._path.parent, Encoder(model).space(task)) as store:
                return embed_everything(connection, store, kind, model, task, self._progress)

    @property
    def first(self) -> StaticEncoder:
        """The model of the first stage."""
        if self._given_first is None:
            self._given_first = open_static()
            assert self._given_first is not None, "pico is a static model"
        return self._given_first

    def _ready(self) -> TaskModel | None:
        if isinstance(self._model, Future):
            self._model = self._model.result()
        return self._model

    def _asked(self, query: str, task: str) -> TaskModel | None:
        """The model; one that was still loading when `_search` began refuses an empty query now."""
        was_loading = isinstance(self._model, Future)
        model = self._ready()
        if model is not None and was_loading:
            Encoder(model).check_query(query, task)
        return model

    def _search(self, query: str, task: str, top: int, refresh: bool) -> Answers:
        clock, kind = Clock(), KIND_OF_TASK[task]
        if not self._exhaustive:
            self.first.check_query(query, task)
        if self._model is not None and not isinstance(self._model, Future):  # one that loads is asked later
            Encoder(self._model).check_query(query, task)
        with open_database(self._path, self.root) as connection:
            if refresh or self._report is None:
                self._report = read_changes(connection, self.root, self._progress, self._choice)
            files, chunks, texts = self._count(connection, kind)
            _check_found(self.root, task, files, chunks, self._report)
            clock.stage("read")
            if self._exhaustive:
                hits, embedded, reused = self._by_model_alone(connection, clock, query, task, top)
            else:
                hits, embedded, reused = self._by_cascade(connection, clock, query, task, top, texts)
        seconds = time.perf_counter() - clock.began
        skipped, left_out = dict(self._report.skipped), tuple(sorted(self._report.left_out))
        state = Refresh(files, chunks, embedded, reused, skipped, seconds, left_out)
        return Answers(query, task, hits, state, clock.seconds)

    def _by_cascade(
        self, connection: sqlite3.Connection, clock: Clock, query: str, task: str, top: int, texts: int
    ) -> tuple[tuple[Hit, ...], int, int]:
        kind = KIND_OF_TASK[task]
        new = 0
        if not self._is_held(kind, task, changes(connection)):
            new = add_features(connection, kind, self.first, task, self._progress)
        clock.stage("index")
        with reading(connection):
            version = changes(connection)
            stage = self._first_stage(connection, version, kind, task)
            clock.stage("load")
            scores_C = stage.scores(query, task)
            likely = 4 * (self._candidates + top)
            found: dict[int, Chunk] = {}

            def chunk(row: int) -> Chunk:
                if row not in found:
                    found[row] = read_chunk(connection, stage.features.ids[row])
                return found[row]

            second: Stage = "candidates"
            hits = tuple(
                best_of_each_unit(
                    ((chunk(row), float(scores_C[row]), second) for row in in_order(scores_C, likely)), top
                )
            )
            chosen = [] if self._model is None else islice(in_order(scores_C, likely), self._candidates)
            candidates = {row: chunk(row) for row in chosen}
            clock.stage("rank")
        model = self._asked(query, task)
        clock.stage("model")
        if model is None:
            return hits, new, texts - new
        with open_store(self._path.parent, Encoder(model).space(task)) as store:
            best = rerank(query, task, model, store, stage.features.hashes, scores_C, candidates)
        with reading(connection):
            # Another process may have changed the index meanwhile: then only what was read before is known.
            whole = changes(connection) == version
            by_model: list[tuple[int, float, Stage]] = [(row, score, "rerank") for row, score in best.ranked]
            seen = {row for row, _ in best.ranked}
            others = (
                (row, float(scores_C[row]), second) for row in in_order(scores_C, likely) if row not in seen
            )
            rows = chain(by_model, others)
            ranked = ((chunk(row), score, name) for row, score, name in rows if whole or row in found)
            hits = tuple(best_of_each_unit(ranked, top))
        clock.stage("rerank")
        return hits, best.embedded, best.reused

    def _count(self, connection: sqlite3.Connection, kind: Kind) -> tuple[int, int, int]:
        """`index.count`, which takes a while in a large index, once for each of its versions."""
        version = changes(connection)
        if kind not in self._counts or self._counts[kind][0] != version:
            self._counts[kind] = (version, count(connection, kind))
        return self._counts[kind][1]

    def _is_held(self, kind: Kind, task: str, version: int) -> bool:
        held = self._held.get((kind, self.first.space(task).prefix))
        return held is not None and held[0] == version

    def _first_stage(self, connection: sqlite3.Connection, version: int, kind: Kind, task: str) -> FirstStage:
        space = self.first.space(task)
        held = self._held.get((kind, space.prefix))
        if held is None or held[0] != version:
            held = (version, FirstStage(read_features(connection, kind, space), self.first))
            self._held[kind, space.prefix] = held
        return held[1]

    def _by_model_alone(
        self, connection: sqlite3.Connection, clock: Clock, query: str, task: str, top: int
    ) -> tuple[tuple[Hit, ...], int, int]:
        model, kind = self._asked(query, task), KIND_OF_TASK[task]
        assert model is not None, "a static model is refused where everything is embedded"
        clock.stage("model")
        with open_store(self._path.parent, Encoder(model).space(task)) as store:
            embedded = embed_everything(connection, store, kind, model, task, self._progress)
            clock.stage("embed")
            with reading(connection):
                ids, scores_C, texts = score_everything(connection, store, kind, model, query, task)
                alone: Stage = "exhaustive"
                ranked = (
                    (read_chunk(connection, ids[row]), float(scores_C[row]), alone)
                    for row in best_first(scores_C)
                )
                hits = tuple(best_of_each_unit(ranked, top))
        clock.stage("rank")
        return hits, embedded, texts - embedded


def search(
    query: str,
    root: Path,
    model: str | TaskModel | StaticEncoder = MINI,
    *,
    task: str = DEFAULT_TASK,
    top: int = 10,
    cache: Path | None = None,
    candidates: int = CANDIDATES,
    exhaustive: bool = False,
    progress: bool = True,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Answers:
    """The chunks of a checkout that answer a query best: one search of a `Searcher`, which has the arguments.

    >>> search("parse a date", Path(".")).hits[0].path
    """
    get_task(task)
    _check_query(query, top)
    searcher = Searcher(
        root, model, cache=cache, candidates=candidates, exhaustive=exhaustive, progress=progress,
        include=include, exclude=exclude,
    )  # fmt: skip
    return searcher.search(query, task, top=top)


def _check_query(query: str, top: int) -> None:
    if not query.strip():
        raise UserError("the query is blank: say in words, or in code, what you are looking for.")
    if top < 1:
        raise UserError(f"top is {top}: ask for at least 1 answer.")


def _check_found(root: Path, task: str, files: int, chunks: int, report: SourceReport) -> None:
    if chunks:
        return
    if not files:
        passed_over = ", ".join(f"{number} {reason}" for reason, number in sorted(report.skipped.items()))
        names = some([shown(one.path) for one in sorted(report.left_out)])
        raise NothingToSearch(
            f"{root} holds no file that can be read as code or text"
            + (f" (passed over: {passed_over}: {names})." if passed_over else ".")
            + " Pass the folder of a checkout, or name files to read with --include.",
            report.left_out,
        )
    raise UserError(
        f"task {task!r} searches {IN_WORDS[KIND_OF_TASK[task]]}, and the {files} files read in {root} "
        "have none. Try another task."
    )
