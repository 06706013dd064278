"""What each part of a LoRA step costs: the recipe `0.5b-lora` on one machine, change by change.

    python -m codequarry.benchmarks.training.lora_step --data pairs --pairs 32 --max-length 96

Forward and backward pass of the same batches, each variant in a process of its own, so that its peak memory
is its own; the matmul roof is measured in the same process, before the steps. The share of the roof counts
4 · parameters · tokens, what a frozen model needs without a second forward pass.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from codequarry.benchmarks.markdown import markdown_table
from codequarry.benchmarks.origin import origin, written_command
from codequarry.benchmarks.training.roof import Roof
from codequarry.data.mixture import column_prompts
from codequarry.data.pair_folders import read_pair_folders
from codequarry.modules.told_in_a_sentence import run_program
from codequarry.modules.whole_files import write_json
from codequarry.recipes.read import read_recipe, recipe_path

RESULTS = Path("benchmarks/results/training-lora-step.json")
_PROGRAM = "python -m codequarry.benchmarks.training.lora_step"
# Each adds something to the one before it.
VARIANTS = {
    "peft's layers, pairs in the order of their documents": (),
    "one function per layer, elementwise results computed again": ("fused",),
    "each column in its own order": ("fused", "own order"),
    "memory_gb": ("fused", "own order", "bound"),
}


def measure(variant: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one variant in this process."""
    import resource

    import torch

    from codequarry.modules.adapter import add_adapter
    from codequarry.modules.fast_fp32 import use_fast_fp32
    from codequarry.modules.lora_linear import fuse_adapters
    from codequarry.modules.losses.objective import Objective
    from codequarry.modules.packing import position_offset, use_packing
    from codequarry.modules.pair_collator import PairCollator
    from codequarry.modules.precision import chosen_precision
    from codequarry.modules.recomputation import recompute_elementwise
    from codequarry.modules.token_cache import TokenCache
    from codequarry.modules.tokens_that_fit import bytes_per_token, tokens_that_fit
    from codequarry.training.initial_model import initial_model

    parts = VARIANTS[variant]
    recipe = read_recipe(
        recipe_path("0.5b-lora"), [f"max_length={arguments.max_length}", *arguments.settings]
    )
    precision = chosen_precision(recipe.precision, device="cpu", architecture="")
    roof = Roof("cpu", "bf16" if precision == "bf16" else "fp32", torch.get_num_threads())
    for _ in range(3):
        roof.look()
    assert recipe.lora is not None
    torch.manual_seed(recipe.seed)
    model = initial_model(recipe, Path("none"), Path(), (), "cpu")
    add_adapter(model, rank=recipe.lora.rank, alpha=recipe.lora.alpha)
    if "fused" in parts:
        recompute_elementwise(model)
        fuse_adapters(model)
    refused = use_packing(model)
    if precision == "fp32":
        use_fast_fp32()
    kept = bytes_per_token(model, precision, packs=refused is None)
    graph_tokens = None
    if "bound" in parts:
        graph_tokens = tokens_that_fit(
            model, precision, "cpu", packs=refused is None, memory_gb=arguments.memory_gb
        )
    pairs = read_pair_folders(Path(arguments.data)).pairs
    name = f"{pairs[0].source}:{pairs[0].task}"
    rows = [
        {"query": pair.query, "document": pair.document, "dataset_name": name}
        for pair in pairs
        if f"{pair.source}:{pair.task}" == name
    ]
    collate = PairCollator(
        TokenCache(model[0]),  # type: ignore[arg-type]
        {name: column_prompts(model.prompts, name, ["query", "document"])},
        packed=refused is None,
        pad_id=model.tokenizer.pad_token_id,
        position_offset=position_offset(model),
    )
    loss = Objective(
        model,
        temperature=recipe.temperature,
        dims=recipe.matryoshka_dims,
        mini_batch_tokens=recipe.mini_batch_tokens,
        graph_tokens=graph_tokens,
    )
    model.train()
    seconds, tokens, losses = [], [], []
    for step in range(1 + arguments.steps):
        batch = collate(rows[step * arguments.pairs : (step + 1) * arguments.pairs])
        columns = [
            {key.removeprefix(f"{column}_"): value for key, value in batch.items() if key.startswith(column)}
            for column in ("query", "document")
        ]
        if "own order" not in parts:
            order = columns[1]["place"].argsort()  # of the pairs, the longest document first
            columns = [_in_order(column, order) for column in columns]
        model.zero_grad()
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            value = loss(columns)
        value.backward()
        seconds.append(time.perf_counter() - began)
        tokens.append(sum(column["input_ids"].numel() for column in columns))
        losses.append(round(value.item(), 6))
    parameters = sum(
        weight.numel()
        for part, weight in model.named_parameters()
        if "embed_tokens" not in part and "lora_" not in part
    )
    per_second = [count / took for count, took in zip(tokens[1:], seconds[1:], strict=True)]
    return {
        "variant": variant,
        "precision": precision,
        "seconds": round(statistics.median(seconds[1:]), 2),
        "tokens": round(statistics.median(tokens[1:])),
        "tokens_per_second": round(statistics.median(per_second), 1),
        "share_of_roof": round(4 * parameters * statistics.median(per_second) / roof.best, 3),
        "roof_gflops": round(roof.best / 1e9, 1),
        "kept_bytes_per_token": round(kept),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "losses": losses,
    }


def _in_order(column: dict[str, Any], order: Any) -> dict[str, Any]:
    """A packed column with its texts in an order of the pairs."""
    from codequarry.modules.token_features import packed

    bounds, ids = column["cu_seq_lens_q"].tolist(), column["input_ids"][0].numpy()
    texts = [ids[bounds[place] : bounds[place + 1]] for place in column["place"].tolist()]
    features = packed([texts[pair] for pair in order.tolist()])
    return column | features | {"place": order.argsort()}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown; the roof is the best that any of their processes saw."""
    roof = max(row["roof_gflops"] for row in rows)
    titles = ["change", "seconds", "tokens", "tokens/s", "of the roof", "kept per token", "peak memory"]
    return markdown_table(
        titles,
        [
            [
                row["variant"], f"{row['seconds']:.1f}", f"{row['tokens']:,}",
                f"{row['tokens_per_second']:.0f}", f"{row['share_of_roof'] * row['roof_gflops'] / roof:.0%}",
                f"{row['kept_bytes_per_token'] / 1e6:.2f} MB", f"{row['peak_gb']:.1f} GB",
            ]
            for row in rows
        ],
    )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this program."""
    parser.add_argument("--data", required=True, help="a folder or file of pairs; its first source is taken")
    parser.add_argument("--pairs", type=int, default=32, help="per step (default: %(default)s)")
    parser.add_argument("--max-length", type=int, default=96, help="tokens (default: %(default)s)")
    parser.add_argument(
        "--memory-gb", type=float, default=5.0, help="of the last variant (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=3, help="timed, after one that is not (default: %(default)s)"
    )
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument(
        "--variant", choices=VARIANTS, help=argparse.SUPPRESS
    )  # what a process of its own runs
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure every variant, print the table and write the results file."""
    if arguments.variant is not None:
        print(json.dumps(measure(arguments.variant, arguments)))
        return
    rows = []
    for variant in VARIANTS:
        words = [sys.executable, "-m", "codequarry.benchmarks.training.lora_step", *sys.argv[1:]]
        done = subprocess.run([*words, "--variant", variant], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{variant!r} could not be measured; its own words stand above.")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    write_json(arguments.out, origin(written_command(_PROGRAM)) | {"rows": rows})
    print(table(rows))


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
