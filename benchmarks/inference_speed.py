"""How fast a model embeds on this processor, against stock sentence-transformers and other runtimes.

    python -m codequarry.benchmarks.inference_speed --documents 512 --queries 100

All of them take turns in one process, round by round, over the same texts: chunks of a source tree, and first
lines of its docstrings as queries, one at a time. Seconds are the processor's, with one thread, so that other
work on the machine changes ratios little. The graphs of the peers are exported from the model folder.
What the results file of this processor holds of other models is kept.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codequarry.benchmarks.cold_start import FP32, LIGHT, STOCK, cold_starts
from codequarry.benchmarks.inference_scaling import (
    DECODER,
    length_figure,
    peak_bytes,
    tokens_per_second,
)
from codequarry.benchmarks.other_runtimes import Contender, other_runtimes
from codequarry.benchmarks.plots import write_plot
from codequarry.common.environment import (
    fast_autocast,
    has_fast_bf16,
    has_int8_products,
    origin,
    processor,
    written_command,
)
from codequarry.common.errors import UserError, run_program
from codequarry.common.files import read_json, write_json
from codequarry.common.tables import markdown_table
from codequarry.data.parsing.parse import read_source
from codequarry.data.parsing.source_files import list_sources
from codequarry.data.parsing.source_report import SourceReport
from codequarry.inference.encoder import Encoder, Vectors
from codequarry.inference.load import load
from codequarry.inference.open import open_model
from codequarry.inference.runtime.linear import Affine, Linear
from codequarry.modules.backbone import MINI, MINI_FOLDER
from codequarry.modules.embedder import CodeEmbedder
from codequarry.search.refresh import chunk_file

RESULTS = Path("benchmarks/results/speed")
BF16, SAME = "codequarry, bf16", "codequarry, batch-invariant"
ENCODER, ENCODER_BF16 = "codequarry, as commands encode", "codequarry, as commands encode, bf16"
INT8 = "codequarry, int8"
STOCK_BF16 = "sentence-transformers, bf16"
TASK = "nl2code"

_PEER_BATCH = (
    8  # texts: what ONNX Runtime and OpenVINO were fastest with on documents (facts of three machines)
)
_ROOF_ROWS = (256, 512, 1024, 2048)


def texts_of(folder: Path) -> tuple[list[str], list[str]]:
    """The chunks of code in a source tree, and the first lines of its docstrings and comments, each once."""
    documents: dict[str, None] = {}
    queries: dict[str, None] = {}
    report = SourceReport()
    for path in list_sources(folder, report):
        source = read_source(folder, path, report)
        for chunk in chunk_file(source) if source else ():
            if chunk.kind == "code":
                documents[chunk.text] = None
            elif chunk.kind == "comment" and len(line := chunk.text.strip().split("\n")[0]) > 15:
                queries[line] = None
    if not (documents and queries):
        raise UserError(f"{folder} holds no documented code to embed: pass --texts with a source tree.")
    return list(documents), list(queries)


def sample(texts: Sequence[str], count: int) -> list[str]:
    """`count` of the texts, the same at each call; all where there are fewer."""
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    return [texts[place] for place in order]


def contenders(name: str, work: Path) -> tuple[list[Contender], CodeEmbedder]:
    """Every way to embed with a model on this machine, and the model; `work` gets its exported graphs."""
    plain = load(name, device="cpu", runtime="stock")
    fast = load(name, device="cpu")
    same = load(name, device="cpu", batch_invariant=True)
    encoder = Encoder(open_model(name))
    found = [
        Contender(STOCK, partial(_encode, plain, False)),
        Contender(FP32, partial(_encode, fast, False)),
        Contender(ENCODER, encoder.encode),
        Contender(SAME, partial(_encode, same, False)),
    ]
    if has_fast_bf16("cpu"):
        found.insert(1, Contender(STOCK_BF16, partial(_encode, plain, True)))
        found.append(Contender(BF16, partial(_encode, fast, True)))
        found.append(Contender(ENCODER_BF16, partial(encoder.encode, bf16=True)))
    if has_int8_products():
        found.append(Contender(INT8, Encoder(open_model(name, runtime="int8")).encode))
    fast.encode(["x"], prompt="")
    runtime: Any = fast.runtime
    if runtime.reason:
        raise UserError(f"the packed runtime does not compute {name}: {runtime.reason}.")
    return [*found, *other_runtimes(_folder(name), plain.tokenizer, work)], plain


def _folder(name: str) -> Path:
    return MINI_FOLDER if name == MINI else Path(name)


def _encode(model: CodeEmbedder, bf16: bool, texts: Sequence[str], prompt: str) -> Vectors:
    with fast_autocast("cpu") if bf16 else nullcontext():
        found: Vectors = model.encode(
            list(texts), prompt=prompt, normalize_embeddings=True, show_progress_bar=False
        )
    return found


def measure(
    ways: Sequence[Contender],
    documents: Sequence[str],
    queries: Sequence[str],
    prompts: tuple[str, str],
    rounds: int,
) -> Iterator[int]:
    """Let each embed all documents, and the queries one at a time, in turn; yields the rounds that are done.

    Arguments: `prompts`, of documents and of queries. A first pass, which is not timed, compares vectors.
    """
    expected = ways[0].embed(documents, prompts[0])
    for way in ways:
        way.cosine = float((way.embed(documents, prompts[0]) * expected).sum(axis=1).min())
        way.embed(queries[:1], prompts[1])
    for turn in range(rounds):
        first = turn % len(ways)  # so that none always comes after the same one
        for way in (*ways[first:], *ways[:first]):
            started = time.process_time()
            way.embed(documents, prompts[0])
            middle = time.process_time()
            for query in queries:
                way.embed([query], prompts[1])
            way.documents.append(middle - started)
            way.query.append((time.process_time() - middle) / len(queries))
        print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        yield turn + 1


def roofs(config: Any) -> dict[str, float]:
    """The fastest matrix product of the model's widest layer, FLOP per CPU second, by number format."""
    hidden, inner = config.hidden_size, config.intermediate_size
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if name == "bf16" and not has_fast_bf16("cpu"):
            continue
        with torch.inference_mode():
            layer = Linear(Affine("widest", [torch.randn(inner, hidden)]), dtype)
            rates = []
            for rows in _ROOF_ROWS:
                x = torch.randn(rows, hidden, dtype=dtype)
                work = 2 * rows * hidden * inner
                repeats = max(1, int(2e10 / work))
                layer(x)
                started = time.process_time()
                for _ in range(repeats):
                    layer(x)
                rates.append(work * repeats / (time.process_time() - started))
        found[name] = max(rates)
    return found


def flops(config: Any, lengths: Sequence[int]) -> float:
    """Of the matrix products and the attention of texts of so many tokens, without padding."""
    hidden, inner = config.hidden_size, config.intermediate_size
    heads = config.num_attention_heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    gated = 3 if config.model_type == "qwen2" else 2
    weights = hidden * hidden * (2 + 2 * keys / heads) + gated * hidden * inner
    layers = config.num_hidden_layers
    return float(sum(layers * (2 * length * weights + 4 * length**2 * hidden) for length in lengths))


def record(
    name: str,
    ways: Sequence[Contender],
    lengths: Sequence[int],
    config: Any,
    limits: dict[str, float],
    rounds: int,
    queries: int,
) -> dict[str, Any]:
    """What a results file says of a model; ratios are medians over rounds of stock's seconds to its own."""
    work = flops(config, lengths)
    rows = []
    for way in ways:
        limit = limits.get("bf16" if "bf16" in way.name else "fp32")
        seconds = statistics.median(way.documents)
        row = {
            "name": way.name,
            "documents_seconds": round(seconds, 3),
            "documents_per_second": round(len(lengths) / seconds, 1),
            "documents_ratio": _ratio(ways[0].documents, way.documents),
            "query_milliseconds": round(1000 * statistics.median(way.query), 2),
            "query_ratio": _ratio(ways[0].query, way.query),
            "worst_cosine": round(way.cosine, 6),
        }
        if limit is not None and "int8" not in way.name:
            row["percent_of_roof"] = round(100 * work / seconds / limit, 1)
        rows.append(row)
    return {
        "model": name,
        "documents": len(lengths),
        "tokens": int(sum(lengths)),
        "queries": queries,
        "rounds": rounds,
        "flops": work,
        "roofs": {name: round(rate) for name, rate in limits.items()},
        "rows": rows,
    }


def _ratio(stock: Sequence[float], own: Sequence[float]) -> float:
    return round(statistics.median(one / two for one, two in zip(stock, own, strict=True)), 2)


def speed_table(results: dict[str, Any]) -> str:
    """The table of one results file, as `docs/benchmarks.md` shows it."""
    lines = []
    for model in results["models"]:
        for row in model["rows"]:
            share = row.get("percent_of_roof")
            lines.append(
                [
                    model["model"],
                    row["name"],
                    f"{row['documents_per_second']:,.1f}",
                    f"{row['documents_ratio']:.2f}",
                    "" if share is None else f"{share:.0f}%",
                    f"{row['query_milliseconds']:.1f}",
                    f"{row['query_ratio']:.2f}",
                    f"{row['worst_cosine']:.4f}",
                ]
            )
    head = [
        "model", "runtime", "documents per second", "times stock", "of the roof", "one query, ms",
        "query, times stock", "worst cosine",
    ]  # fmt: skip
    return markdown_table(head, lines, ("model", "runtime"))


def sentences(results: dict[str, Any]) -> dict[str, str]:
    """What pages say of `mini` in one results file: `readme`, `cold`, `billion`, `invariant`."""
    (model,) = (row for row in results["models"] if row["model"] == MINI)
    rows = {row["name"]: row for row in model["rows"]}
    ours = [rows[name] for name in (FP32, BF16) if name in rows]
    best = max(ours, key=lambda row: float(row["documents_per_second"]))
    where = f"one core of an {results['hardware']['processor']}"
    light, stock = model["cold"][LIGHT], model["cold"][STOCK]
    rate = best["documents_per_second"]
    days = 1e9 / rate / 86_400
    tokens = model["tokens"] / model["documents"]
    slower = rows[FP32]["documents_per_second"] / rows[SAME]["documents_per_second"]
    return {
        "readme": f"On {where}, `mini` embeds {rate:.0f} chunks of code a second, and a query in "
        f"{best['query_milliseconds']:.0f} ms",
        "cold": f"A new process has its first vector after {light['seconds']:.1f} s of the processor and "
        f"{light['peak_bytes'] / 1e6:.0f} MB, with sentence-transformers after {stock['seconds']:.1f} s and "
        f"{stock['peak_bytes'] / 1e6:.0f} MB",
        "billion": f"at {rate:.0f} chunks of {tokens:.0f} tokens a second on {where}, a billion chunks take "
        f"{days:,.0f} core-days",
        "invariant": f"it takes {slower:.2f} times as long for documents",
    }


def results_file(folder: Path) -> Path:
    """Where this processor's results are."""
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', processor().lower()).strip('-')}.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this program."""
    add = parser.add_argument
    add("--models", nargs="+", default=[MINI], help="names or folders (default: mini)")
    add("--texts", type=Path, help="a source tree (default: the installed sentence-transformers)")
    add("--documents", type=int, default=512, help="chunks that are embedded (default: %(default)s)")
    add("--queries", type=int, default=100, help="queries, one at a time (default: %(default)s)")
    add("--rounds", type=int, default=5, help="turns of each (default: %(default)s)")
    add("--cold-only", action="store_true", help="measure cold starts anew and keep the other figures")
    add("--lengths", action="store_true", help="measure tokens per second by the length of a text, alone")
    add("--memory", nargs="+", type=int, metavar="N",
        help="measure the peak memory of a process that embeds N short texts, alone")  # fmt: skip
    add("--threads", type=int, default=1, help="of each runtime (default: %(default)s)")
    add("--out", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure as the command line says, write the results file after each round, and print its table."""
    torch.set_num_threads(arguments.threads)
    spec = find_spec("sentence_transformers")
    documents, queries = texts_of(arguments.texts or Path(str(spec and spec.origin)).parent)
    documents, queries = sample(documents, arguments.documents), sample(queries, arguments.queries)
    path = results_file(arguments.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = read_json(path) if path.is_file() else {"models": []}
    kept = {row["model"]: row for row in before["models"]}
    about = {
        "benchmark": "speed of inference",
        **origin(written_command("python -m codequarry.benchmarks.inference_speed")),
        **({"command": before["command"]} if arguments.cold_only and kept else {}),
        "peers": {
            one: version(one)
            for one in ("onnxruntime", "openvino", "fastembed")
            if find_spec(one) is not None
        },
    }
    about |= {part: before[part] for part in ("lengths", "memory") if part in before}
    if arguments.lengths or arguments.memory:
        _write_scaling(arguments, path, before if path.is_file() else about | before)
        return
    for name in arguments.models:
        short = Path(name).name
        if not arguments.cold_only:
            for found in measured(name, documents, queries, arguments.rounds):
                kept[short] = found
                write_json(path, about | {"models": list(kept.values())})
        if short in kept:
            kept[short]["cold"] = cold_starts(_folder(name), TASK, queries[0], min(3, arguments.rounds))
            write_json(path, about | {"models": list(kept.values())})
    print(speed_table(read_json(path)))


def _write_scaling(arguments: argparse.Namespace, path: Path, results: dict[str, Any]) -> None:
    """Put what `inference_scaling` measures into a results file, with the command beside the figures."""
    command = written_command("python -m codequarry.benchmarks.inference_speed")
    if arguments.lengths:
        rows = tokens_per_second()
        results["lengths"] = {"command": command, "layers": DECODER["num_hidden_layers"], "rows": rows}
        subtitle = f"{DECODER['num_hidden_layers']} layers of 0.5b's width on {processor()}, one thread"
        for image in write_plot(path.parent, f"{path.stem}-lengths", length_figure(rows, subtitle)):
            print(f"wrote {image}")
    if arguments.memory:
        (name,) = arguments.models
        peaks = peak_bytes(_folder(name), arguments.memory)
        results["memory"] = {"command": command, "model": Path(name).name, "rows": peaks}
    write_json(path, results)
    print(f"wrote {path}")


def measured(
    name: str, documents: Sequence[str], queries: Sequence[str], rounds: int
) -> Iterator[dict[str, Any]]:
    """What a results file says of one model, after each round: see `record`."""
    with tempfile.TemporaryDirectory() as work:
        ways, model = contenders(name, Path(work))
        family = model.prompt_family
        prompts = family.prefix(TASK, "document"), family.prefix(TASK, "query")
        ids = model.tokenizer([prompts[0] + text for text in documents], truncation=True)["input_ids"]
        lengths = [len(row) for row in ids]
        limits = roofs(model.config)
        for turn in measure(ways, documents, queries, prompts, rounds):
            yield record(Path(name).name, ways, lengths, model.config, limits, turn, len(queries))


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
