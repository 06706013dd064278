"""What `codequarry serve` does under load: many clients, slow ones, rude ones, and more than it can take.

    python -m codequarry.benchmarks.serving_load

Starts the server as users do, on a free port of this machine, and loads it from the same machine, so that
both share its processor. Ends it with SIGTERM in the middle of work and notes how it ended.
"""

import argparse
import ast
import asyncio
import inspect
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from codequarry.benchmarks.http_load import Request, Seen, keep_asking
from codequarry.common.environment import origin, peak_memory, written_command
from codequarry.common.errors import UserError, run_program
from codequarry.common.files import write_json
from codequarry.common.tables import markdown_table

RESULTS = Path("benchmarks/results/serve.json")

_PROGRAM = "python -m codequarry.benchmarks.serving_load"

_SERVER = "codequarry.cli.serve"  # a module: what `codequarry serve` calls

_DOCUMENTS = 16  # texts of the larger request of a client

_MANY = 64  # texts of a request in the overload, where there are four times the clients

_BODY = 100_000  # bytes a request that the server is started with: what oversize requests exceed

Address = tuple[str, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program."""
    add = parser.add_argument
    add("model", nargs="?", default="mini", help="mini, a model folder or a Hub name (default: mini)")
    add("--clients", type=int, default=32, help="clients at a time (default: %(default)s)")
    add("--seconds", type=float, default=20, help="of each part (default: %(default)s)")
    add(
        "--queue-texts",
        type=int,
        default=1024,
        help="texts that may wait in the server (default: %(default)s)",
    )
    add("--device", help="where the model computes (default: the fastest there is)")
    add("--out", type=Path, default=RESULTS, help="the results file (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table, write the results file."""
    clients, queue_texts = arguments.clients, arguments.queue_texts
    if clients < 1 or arguments.seconds <= 0:
        raise UserError("a load test needs at least one client and some time: pass larger numbers.")
    words = f"--queue-texts {queue_texts} --max-body {_BODY} --max-requests {8 * clients + 32}".split()
    words += ["--max-texts", str(_MANY), "--name", "loaded"]
    words += ["--device", arguments.device] if arguments.device else []
    server, address = start([arguments.model, *words])
    try:
        parts = asyncio.run(_measure(address, clients, arguments.seconds))
        memory = peak_memory(server.pid)
        end = asyncio.run(_end_at_work(server, address, clients))
    finally:
        server.kill()
        server.communicate()
    record = {
        "measured": "codequarry serve under load",
        "model": arguments.model,
        **origin(written_command(_PROGRAM)),
        "server": {"queue_texts": queue_texts, "peak_mib": memory and memory // 2**20},
        "parts": parts,
        "end": end,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, record)
    print(f"{serving_table(record)}\n\n{serving_notes(record)}\n\nwrote {arguments.out}")


def start(words: Sequence[str]) -> tuple["subprocess.Popen[str]", Address]:
    """`codequarry serve` with these words, on a free port, and where it answers.

    Raises UserError with what it said, where it did not start.
    """
    command = [sys.executable, "-m", _SERVER, *words, "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said = []
    for line in server.stderr or ():
        if " answers at http://" in line:
            host, _, port = line.split("http://")[1].split(";")[0].rpartition(":")
            return server, (host, int(port))
        said.append(line)
    server.wait()
    raise UserError(f"the server did not start: {''.join(said).strip()[-500:]}")


async def _measure(address: Address, clients: int, seconds: float) -> list[dict[str, Any]]:
    mixed, many = _mixed_requests(), _batch_requests(_MANY)
    await keep_asking(address, mixed, time.perf_counter() + min(2, seconds), Seen())  # warm caches
    return [
        await _part("one client, one query at a time", address, seconds, 1, _queries()),
        await _part(f"{clients} clients", address, seconds, clients, mixed),
        await _part(
            f"{clients} clients beside slow and rude ones", address, seconds, clients, mixed, _rude_clients()
        ),
        await _part(f"{4 * clients} clients, {_MANY} texts each", address, seconds, 4 * clients, many),
    ]


async def _part(
    name: str,
    address: Address,
    seconds: float,
    clients: int,
    requests: Callable[[int], Request],
    rude: Mapping[str, tuple[Request, float]] = MappingProxyType({}),
) -> dict[str, Any]:
    started = time.perf_counter()
    until = started + seconds
    seen, checks, others = Seen(), Seen(), {kind: Seen() for kind in rude}

    def always(request: Request, counted: Seen, **options: Any) -> "asyncio.Task[None]":
        return asyncio.create_task(keep_asking(address, lambda _: request, until, counted, **options))

    beside = [always(Request("/health", b""), checks, method="GET", rest=0.1)]
    for kind, (request, pause) in rude.items():
        beside += [always(request, others[kind], pause=pause, rest=0.05) for _ in range(8)]
    await asyncio.gather(
        *(keep_asking(address, requests, until, seen, first=client) for client in range(clients))
    )
    over = time.perf_counter() - started
    await asyncio.gather(*beside)
    return {
        "name": name,
        "clients": clients,
        **seen.summary(over),
        "health_p99_ms": checks.percentile(99),
        "health_failed": sum(checks.statuses.values()) - checks.statuses[200] + sum(checks.errors.values()),
        "beside": {kind: counted.counts() for kind, counted in others.items()},
    }


def _rude_clients() -> dict[str, tuple[Request, float]]:
    """By kind the request of a client that troubles others, and its seconds after each byte."""
    whole = json.dumps({"inputs": ["x"], "prompt_name": "query"}).encode()
    return {
        "slow": (Request("/embed", whole, 1), 0.1),  # 41 bytes in four seconds, within the server's ten
        "oversize": (Request("/embed", b" " * (2 * _BODY)), 0),
        "malformed": (Request("/v1/embeddings", whole[:-1]), 0),
    }


async def _end_at_work(server: "subprocess.Popen[str]", address: Address, clients: int) -> dict[str, Any]:
    """Send the server SIGTERM while every client waits for an answer."""
    seen, until = Seen(), time.perf_counter() + 0.5
    asking = [
        asyncio.create_task(keep_asking(address, _mixed_requests(), until, seen)) for _ in range(clients)
    ]
    await asyncio.sleep(0.4)
    stopped = time.perf_counter()
    server.send_signal(signal.SIGTERM)
    await asyncio.gather(*asking)
    code = await asyncio.to_thread(server.wait, 120)
    return {"exit": code, "seconds": round(time.perf_counter() - stopped, 2), **seen.counts()}


def _queries() -> Callable[[int], Request]:
    lines = [text.strip().splitlines()[0] for text in _functions()]
    return lambda number: _openai("nl2code_query", [lines[number % len(lines)]])


def _batch_requests(size: int) -> Callable[[int], Request]:
    texts = _functions()
    return lambda number: _openai(
        "nl2code_document", [texts[(number * size + one) % len(texts)] for one in range(size)]
    )


def _mixed_requests() -> Callable[[int], Request]:
    """In turn: a query, a document by the other route, sixteen documents."""
    queries, batches, texts = _queries(), _batch_requests(_DOCUMENTS), _functions()

    def document(number: int) -> Request:
        body = {"inputs": texts[number % len(texts)], "prompt_name": "nl2code_document"}
        return Request("/embed", json.dumps(body).encode(), 1)

    return lambda number: (queries, document, batches)[number % 3](number)


def _openai(prompt: str, texts: Sequence[str]) -> Request:
    body = {"model": f"loaded:{prompt}", "input": texts, "encoding_format": "base64"}
    return Request("/v1/embeddings", json.dumps(body).encode(), len(texts))


@cache
def _functions() -> list[str]:
    """Real code that every Python has: the functions of a few modules, at most 1,500 characters each."""
    return [
        "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])[:1500]
        for source in map(inspect.getsource, (shutil, statistics, tempfile, textwrap))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    ]


def serving_table(record: dict[str, Any]) -> str:
    """The parts of a results file, one line per part."""
    head = ["load", "requests/s", "texts/s", "p50 ms", "p95 ms", "p99 ms", "429s", "errors", "/health p99 ms"]
    lines = []
    for part in record["parts"]:
        times = [*(part["latency_ms"][name] for name in ("p50", "p95", "p99")), part["health_p99_ms"]]
        *latency, health = ("-" if time is None else f"{time:.0f}" for time in times)
        rates = (f"{part[f'{what}_per_second']:.1f}" for what in ("requests", "texts"))
        other = sum(count for status, count in part["statuses"].items() if status not in ("200", "429"))
        failures = other + sum(part["errors"].values())
        busy = part["statuses"].get("429", 0)
        lines.append([part["name"], *rates, *latency, str(busy), str(failures), health])
    return markdown_table(head, lines)


def serving_notes(record: dict[str, Any]) -> str:
    """What the slow and the rude were told, and how the server ended, in sentences."""
    end = record["end"]
    sentences = [
        f"{kind} clients: {_counted(counts)}."
        for part in record["parts"]
        for kind, counts in part["beside"].items()
    ]
    stop = f"Told to stop at work: exit code {end['exit']} after {end['seconds']} s"
    return "\n".join([*sentences, f"{stop}; clients: {_counted(end)}."])


def _counted(counts: dict[str, Any]) -> str:
    said = [f"status {status} {count} times" for status, count in counts["statuses"].items()]
    said += [f"{error} {count} times" for error, count in counts["errors"].items()]
    return ", ".join(said) or "nothing"


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
