"""Score models on evaluation sets, beside BM25 and fused with it, all by the same code.

rows = score(sets, ["runs/mini", "all-MiniLM-L6-v2"], out=Path("results"))
print(score_table(rows))
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from codequarry.benchmarks.bm25 import BM25Search, code_words, plain_words
from codequarry.benchmarks.contenders import Contender, load_contender
from codequarry.benchmarks.precision import RANGES_FILE, Precision, Ranges, ranges_of, write_ranges
from codequarry.benchmarks.quality import Row, with_means
from codequarry.benchmarks.searchers import FusedSearch, dense_search, place_of
from codequarry.benchmarks.variants import Prompts, variants_of
from codequarry.benchmarks.vectors import Compute, StoredVectors, Vectors
from codequarry.data.eval_set import EvalSet
from codequarry.integrations.mteb_tasks import benchmark_task, counts_in_mean

if TYPE_CHECKING:
    from codequarry.benchmarks.one_score import ScoredSet

BM25, PLAIN, FUSED = "BM25", "BM25, plain words", " + BM25"


@dataclass
class Measured:
    """What a run found.

    rows: BM25, models and fusions on every set, a model's mean after its sets.
    variants: the same by section (`dims`, `precisions`, `prompts`) for what was changed.
    languages: nDCG@10 by model, set and language, where the sets say.
    speeds: by model label, as plain data.
    """

    rows: list[Row] = field(default_factory=list)
    variants: dict[str, list[Row]] = field(default_factory=dict)
    languages: list[dict[str, Any]] = field(default_factory=list)
    speeds: dict[str, dict[str, Any]] = field(default_factory=dict)


def score(
    sets: Sequence[EvalSet],
    models: Sequence[str | Contender],
    *,
    out: Path | None = None,
    cache: Path | None = None,
    compute: Compute = "auto",
    progress: bool = True,
) -> list[Row]:
    """The rows of BM25, BM25 on plain words, each model, and each model fused with BM25, means last.

    Arguments:
        sets: their names are distinct; a query with `candidates` is answered out of these only.
        models: names as `load_contender` takes them, or models that are loaded.
        out: where MTEB's results tree is written; None for nowhere.
        cache: where vectors are kept between runs; None keeps them in memory.
        compute: `auto` computes in bf16 where the processor is faster at it, `fp32` never.
        progress: show bars over anything that takes more than two seconds.

    Raises ValueError for a model that cannot be loaded, and where mteb or bm25s is not installed.

    >>> rows = score([read_eval_set(Path("eval/mbpp"))], ["all-MiniLM-L6-v2"])
    """
    return measure(sets, contenders(models), out=out, cache=cache, compute=compute, progress=progress).rows


def contenders(models: Sequence[str | Contender]) -> list[Contender]:
    """The models, loaded, one named twice once.

    Raises ValueError for a model that cannot be loaded, and for two of one name, as `/a/mini` and `/b/mini`.
    """
    require_mteb()
    found: dict[str, Contender] = {}
    for model in models:
        loaded = load_contender(model) if isinstance(model, str) else model
        if found.setdefault(loaded.label, loaded).fingerprint != loaded.fingerprint:
            raise ValueError(f"Two models are called {loaded.label}: rename a folder, so that rows differ.")
    return list(found.values())


def measure(
    sets: Sequence[EvalSet | str],
    models: Sequence[Contender],
    *,
    dims: Sequence[int] = (),
    precisions: Sequence[Precision] = (),
    wrong_prompts: Sequence[Prompts] = (),
    out: Path | None = None,
    cache: Path | None = None,
    compute: Compute = "auto",
    progress: bool = True,
) -> Measured:
    """As `score`, with the variants that are asked for.

    Arguments:
        sets: evaluation sets, or names of MTEB's own tasks, which come from the Hub.
        dims: numbers a vector is cut to, made unit length again.
        precisions: of the stored documents.
        wrong_prompts: what else to put in front of texts, `none`, `sides`, `task`; embeds every text anew.
    """
    require_mteb()
    from codequarry.benchmarks.one_score import by_language, score_one

    names = [found.name if isinstance(found, EvalSet) else found for found in sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Two sets are called {repeated[0]}: rename one, so that rows differ.")
    wanted = {
        model.label: variants_of(model, dims=dims, precisions=precisions, wrong_prompts=wrong_prompts)
        for model in models
    }
    stored = {
        model.label: StoredVectors(model, cache, compute=compute, progress=progress) for model in models
    }
    measured = Measured()
    for chosen in _loaded(sets, "scoring", progress):
        rows = rows_of(chosen, models, stored, out)
        measured.rows += rows
        measured.languages += [line for row in rows for line in by_language(row, chosen.languages)]
    measured.speeds = {label: vectors.record() for label, vectors in stored.items()}
    if any(wanted.values()):
        # Ranges are of all sets, so every set has to be embedded before the first is scored in int8.
        ranges = _ranges(sets, models, stored, out, progress) if "int8" in precisions else {}
        for chosen in _loaded(sets, "scoring variants", progress):
            for model in models:
                for variant in wanted[model.label]:
                    searcher = dense_search(
                        model, stored[model.label], chosen.ours, variant, ranges.get(model.label)
                    )
                    found = score_one(searcher, chosen, model=model.label, variant=variant.name)
                    measured.variants.setdefault(variant.section, []).append(found.row)
    measured.rows = with_means(_by_model(measured.rows))
    measured.variants = {name: with_means(_by_model(rows)) for name, rows in measured.variants.items()}
    return measured


def require_mteb() -> None:
    """Raise ValueError, naming what to install, unless mteb is there."""
    from importlib.util import find_spec

    missing = [name for name in ("mteb", "bm25s") if find_spec(name) is None]
    if missing:
        raise ValueError(f"Benchmarks need {' and '.join(missing)}: pip install 'codequarry[benchmark]'.")


def _loaded(sets: Sequence[EvalSet | str], what: str, progress: bool) -> Iterator["ScoredSet"]:
    from codequarry.benchmarks.mteb_sets import LocalTask, load_from_hub, official_tasks
    from codequarry.benchmarks.one_score import ScoredSet

    for found in tqdm(sets, desc=what, unit="set", delay=2, disable=not progress, leave=False):
        if isinstance(found, EvalSet):
            yield ScoredSet(LocalTask(found), found.task, counts_in_mean(found.name), found.languages)
        else:
            (task,) = official_tasks([found])
            load_from_hub(task)
            row, page = benchmark_task(found), task.metadata.dataset
            yield ScoredSet(
                task, row.task, row.in_mean, dataset=page["path"], dataset_revision=page["revision"]
            )
            task.unload_data()


def rows_of(
    chosen: "ScoredSet",
    models: Sequence[Contender],
    stored: Mapping[str, StoredVectors],
    out: Path | None,
    around: Callable[[Any], Any] = lambda search: search,
) -> list[Row]:
    """BM25, models and fusions on one set; `around` wraps each searcher, MTEB's protocol in and out."""
    from codequarry.benchmarks.one_score import score_one

    bm25 = around(BM25Search(code_words, "codequarry/bm25"))
    words = score_one(bm25, chosen, model=BM25, tree=out)
    plain = around(BM25Search(plain_words, "codequarry/bm25-plain"))
    rows = [words.row, score_one(plain, chosen, model=PLAIN, tree=out).row]
    for model in models:
        search = around(dense_search(model, stored[model.label], chosen.ours))
        dense = score_one(search, chosen, model=model.label, tree=out)
        place = place_of(model)
        fused = FusedSearch([dense.found, words.found], f"{place.name}+bm25", place.revision)
        rows += [dense.row, score_one(fused, chosen, model=f"{model.label}{FUSED}", tree=out).row]
    return rows


def _ranges(
    sets: Sequence[EvalSet | str],
    models: Sequence[Contender],
    stored: Mapping[str, StoredVectors],
    out: Path | None,
    progress: bool,
) -> dict[str, Ranges]:
    """The ranges of each model's int8 codes; written beside its results."""
    from codequarry.benchmarks.one_score import sample_of_documents

    samples: dict[str, list[Vectors]] = {model.label: [] for model in models}
    for chosen in _loaded(sets, "int8 ranges", progress):
        texts = sample_of_documents(chosen)
        for model in models:
            prompt = model.prompt(chosen.ours, "document")
            samples[model.label].append(stored[model.label].embed(texts, prompt))
    found = {}
    for model in models:
        vectors = np.concatenate(samples[model.label])
        found[model.label] = ranges_of(vectors)
        if out is not None:
            write_ranges(out / place_of(model).folder / RANGES_FILE, found[model.label], len(vectors))
    return found


def _by_model(rows: Sequence[Row]) -> list[Row]:
    names = list(dict.fromkeys(row.name for row in rows))
    return sorted(rows, key=lambda row: names.index(row.name))
