"""Score models on evaluation sets, with BM25 and fused with it, all by the same code.

rows = score(sets, ["runs/mini", "all-MiniLM-L6-v2"], out=Path("results"))
print(score_table(rows))
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import mteb
import numpy as np
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.cache import ResultCache
from tqdm import tqdm

from codequarry.benchmarks.bm25 import BM25Search, code_words, plain_words
from codequarry.benchmarks.cascade import CASCADE, SECOND_STAGE, CascadeSearch
from codequarry.benchmarks.cost import Cost, costs_on, together
from codequarry.benchmarks.models import (
    BenchmarkModel,
    BestPassageSearch,
    FusedSearch,
    Prompts,
    best_of,
    dense_search,
    load_model,
    place_of,
    variants_of,
)
from codequarry.benchmarks.mteb_tasks import LocalTask, load_from_hub, official_tasks
from codequarry.benchmarks.quantization import (
    CALIBRATION_TEXTS,
    RANGES_FILE,
    Precision,
    Ranges,
    ranges_of,
    write_ranges,
)
from codequarry.benchmarks.results import BM25, FUSED, PLAIN, Measured, Row, with_means
from codequarry.benchmarks.significance import interval
from codequarry.common.errors import UserError
from codequarry.common.files import write_text
from codequarry.data.eval_set import EvalSet
from codequarry.inference.encoder import Vectors
from codequarry.inference.open import open_static
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.inference.vector_cache import Compute, StoredVectors
from codequarry.integrations.mteb import benchmark_task, counts_in_mean

if TYPE_CHECKING:
    from codequarry.inference.load import RuntimeName


def score(sets: Sequence[EvalSet], models: Sequence[str | BenchmarkModel], **settings: Any) -> list[Row]:
    """The rows of `measure`, which takes the settings, for models that are loaded or named.

    >>> rows = score([read_eval_set(Path("eval/mbpp"))], ["all-MiniLM-L6-v2"])
    """
    return measure(sets, benchmark_models(models), **settings).rows


def benchmark_models(
    models: Sequence[str | BenchmarkModel], *, runtime: "RuntimeName" = "packed"
) -> list[BenchmarkModel]:
    """The models, loaded, one named twice once.

    Raises UserError for a model that cannot be loaded, and for two of one name, as `/a/mini` and `/b/mini`.
    """
    found: dict[str, BenchmarkModel] = {}
    for model in models:
        loaded = load_model(model, runtime=runtime) if isinstance(model, str) else model
        if found.setdefault(loaded.label, loaded).fingerprint != loaded.fingerprint:
            raise UserError(f"Two models are called {loaded.label}: rename a folder, so that rows differ.")
    return list(found.values())


def measure(
    sets: Sequence[EvalSet | str],
    models: Sequence[BenchmarkModel],
    *,
    dims: Sequence[int] = (),
    precisions: Sequence[Precision] = (),
    wrong_prompts: Sequence[Prompts] = (),
    passages: Mapping[str, Sequence[str]] | None = None,
    out: Path | None = None,
    cache: Path | None = None,
    compute: Compute = "auto",
    progress: bool = True,
    cascade: bool = False,
) -> Measured:
    """Score BM25, BM25 on plain words, each model, and each model fused with BM25, on every set.

    Arguments:
        sets: evaluation sets, whose names are distinct, or names of MTEB's own tasks, which come from the
            Hub. A query with `candidates` is answered out of these only.
        models: see `benchmark_models`.
        dims: dimensions that vectors are cut to, made unit length again.
        precisions: of the stored documents.
        wrong_prompts: what else to put in front of texts, `none`, `sides`, `task`; embeds every text anew.
        passages: by document id what each document is cut into for searching; None searches whole documents.
        out: where MTEB's results tree is written; None for nowhere.
        cache: where vectors are kept between runs; None keeps them in memory.
        compute: `auto` computes in bf16 where the processor is faster at it, `fp32` never.
        progress: show bars over anything that takes more than two seconds.
        cascade: score what `codequarry search` does as well: its second stage, and each model on what that
            chooses; and measure what every contender costs (`cost`), unless there are passages.

    Raises UserError for two sets of one name.
    """
    names = [found.name if isinstance(found, EvalSet) else found for found in sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"Two sets are called {repeated[0]}: rename one, so that rows differ.")
    wanted = {
        model.label: variants_of(model, dims=dims, precisions=precisions, wrong_prompts=wrong_prompts)
        for model in models
    }
    stored = {
        model.label: model.stored_vectors(cache, compute=compute, progress=progress) for model in models
    }
    measured = Measured()
    first = open_static() if cascade else None
    costs: list[Cost] = []
    for chosen in _loaded(sets, "scoring", progress):
        rows = _rows_of(chosen, models, stored, out, passages, first)
        if first is not None and passages is None:
            costs += costs_on(*_texts_of(chosen), chosen.ours, first, models, stored)
        measured.rows += rows
        measured.languages += [line for row in rows for line in by_language(row, chosen.languages)]
    measured.speeds = {label: vectors.record() for label, vectors in stored.items()}
    measured.costs = [cost.record() for cost in together(costs)]
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
    measured.rows = with_means(measured.rows)
    measured.variants = {name: with_means(rows) for name, rows in measured.variants.items()}
    return measured


def _loaded(sets: Sequence[EvalSet | str], what: str, progress: bool) -> Iterator["ScoredSet"]:
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


def _rows_of(
    chosen: "ScoredSet",
    models: Sequence[BenchmarkModel],
    stored: Mapping[str, StoredVectors],
    out: Path | None,
    passages: Mapping[str, Sequence[str]] | None,
    first: StaticEncoder | None,
) -> list[Row]:
    """The rows of BM25, models and fusions on one set; those of the cascade where `first` begins one."""

    def scored(search: Any, name: str) -> Scored:
        if passages is not None and not isinstance(search, FusedSearch):
            search = BestPassageSearch(search, passages)
        return score_one(search, chosen, model=name, tree=out)

    words = scored(BM25Search(code_words, "codequarry/bm25"), BM25)
    rows = [words.row, scored(BM25Search(plain_words, "codequarry/bm25-plain"), PLAIN).row]
    for model in models:
        dense = scored(dense_search(model, stored[model.label], chosen.ours), model.label)
        place = place_of(model)
        fused = FusedSearch([dense.found, words.found], f"{place.name}+bm25", place.revision)
        rows += [dense.row, scored(fused, f"{model.label}{FUSED}").row]
    if first is not None:
        rows.append(scored(CascadeSearch(first, chosen.ours), SECOND_STAGE).row)
        for model in models:
            if model.fingerprint != first.fingerprint:  # ranks nothing anew
                search = CascadeSearch(first, chosen.ours, model, stored[model.label])
                rows.append(scored(search, f"{CASCADE}{model.label}").row)
    return rows


def _ranges(
    sets: Sequence[EvalSet | str],
    models: Sequence[BenchmarkModel],
    stored: Mapping[str, StoredVectors],
    out: Path | None,
    progress: bool,
) -> dict[str, Ranges]:
    """The ranges of each model's int8 codes; written next to its results."""
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


DEPTH = 100  # documents of each query's ranking that are kept, for fusion

Found = Mapping[str, Mapping[str, float]]  # query id to its ranking


@dataclass(frozen=True)
class ScoredSet:
    """A set in a benchmark.

    task: as MTEB takes it, its texts loaded. ours: which of the five tasks it is.
    languages: by query id, {} where the set does not say.
    dataset, dataset_revision: its name and commit on the Hub; None where it has no page there.
    """

    task: AbsTaskRetrieval
    ours: str
    in_mean: bool = True
    languages: Mapping[str, str] = field(default_factory=dict)
    dataset: str | None = None
    dataset_revision: str | None = None


@dataclass(frozen=True)
class Scored:
    """What a searcher did on a set: its row, and by part of the set the head of each query's ranking."""

    row: Row
    found: Mapping[str, Found]


def score_one(
    searcher: Any, chosen: ScoredSet, *, model: str, variant: str = "", tree: Path | None = None
) -> Scored:
    """Run a searcher, MTEB's search protocol, over a set.

    Arguments:
        model, variant: how the row calls it.
        tree: where MTEB's results file goes, as `<model>/<revision>/<set>.json`; None for nowhere. Files
            there are replaced whole.
    """
    task = chosen.task
    by_query: dict[str, dict[str, float]] = {}
    heads: dict[str, Found] = {}
    original: Callable[..., dict[str, float]] = type(task).task_specific_scores

    def watch(
        scores: Mapping[str, Mapping[str, float]], qrels: Any, results: Found, hf_split: str, hf_subset: str
    ) -> dict[str, float]:
        by_query[hf_subset] = {name: float(found["ndcg_cut_10"]) for name, found in sorted(scores.items())}
        heads[hf_subset] = {name: best_of(ranking, DEPTH) for name, ranking in results.items()}
        return original(task, scores, qrels, results, hf_split=hf_split, hf_subset=hf_subset)

    # MTEB hands every query's scores to this method alone; a result file keeps their means.
    setattr(task, "task_specific_scores", watch)  # noqa: B010
    silent = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as temporary:  # MTEB writes in place: a kill would leave a half
            cache = ResultCache(temporary)
            result = mteb.evaluate(
                searcher,
                [task],
                cache=cache if tree is not None else None,
                overwrite_strategy="always",
                encode_kwargs={"batch_size": 32, "show_progress_bar": False},
                show_progress_bar=False,
                co2_tracker=False,
            )
            if tree is not None:
                _publish(Path(temporary) / "results", tree)
    finally:
        delattr(task, "task_specific_scores")
        if not silent:
            datasets.enable_progress_bars()
    parts = [part for found in result.task_results[0].scores.values() for part in found]
    scores = [[np.array(list(part.values())) for part in by_query.values()]]
    low, high = interval(scores)
    row = Row(
        model=model,
        task=chosen.ours,
        queries=sum(len(part) for part in by_query.values()),
        documents=sum(len(split["corpus"]) for part in task.dataset.values() for split in part.values()),
        ndcg_at_10=_mean(parts, "ndcg_at_10"),
        mrr_at_10=_mean(parts, "mrr_at_10"),
        recall_at_1=_mean(parts, "recall_at_1"),
        set=task.metadata.name,
        low=round(low, 4),
        high=round(high, 4),
        variant=variant,
        in_mean=chosen.in_mean,
        dataset=chosen.dataset,
        dataset_revision=chosen.dataset_revision,
        by_query=by_query,
    )
    return Scored(row, heads)


def by_language(row: Row, languages: Mapping[str, str]) -> list[dict[str, Any]]:
    """nDCG@10 of a row by language: of its queries where the set says, else of MTEB's subsets."""
    groups: dict[str, list[float]] = {}
    for part, scores in row.by_query.items():
        for name, score in scores.items():
            language = languages.get(name) if languages else part if len(row.by_query) > 1 else None
            if language is not None:
                groups.setdefault(language, []).append(score)
    return [
        {
            "model": row.model,
            "set": row.set,
            "language": language,
            "queries": len(scores),
            "ndcg@10": round(float(np.mean(scores)), 4),
        }
        for language, scores in sorted(groups.items())
    ]


def sample_of_documents(chosen: ScoredSet) -> list[str]:
    """At most 2,000 of a set's documents, spread evenly over it."""
    texts, _ = _texts_of(chosen)
    return texts[:: -(-len(texts) // CALIBRATION_TEXTS)]


def _texts_of(chosen: ScoredSet) -> tuple[list[str], list[str]]:
    """The documents and the queries of a set, of all its parts."""
    splits = [split for part in chosen.task.dataset.values() for split in part.values()]
    documents, queries = (
        [text for split in splits for text in split[name]["text"]] for name in ("corpus", "queries")
    )
    return documents, queries


def _mean(parts: list[Any], name: str) -> float:
    return round(float(np.mean([part[name] for part in parts])), 4)


def _publish(made: Path, tree: Path) -> None:
    for file in sorted(path for path in made.rglob("*") if path.is_file()):
        target = tree / file.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8")
        if file.name == "run_settings.jsonl" and target.exists():
            text = _merged(target.read_text(encoding="utf-8"), text)
        write_text(target, text)


def _merged(before: str, now: str) -> str:
    """The settings of each set's latest run: a line of the newer file replaces that of the same set."""
    lines = {}
    for line in [*before.splitlines(), *now.splitlines()]:
        if line.strip():
            record = json.loads(line)
            lines[(record["task"], tuple(record["splits"]))] = line
    return "".join(f"{line}\n" for line in lines.values())
