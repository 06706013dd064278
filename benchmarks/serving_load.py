"""What `codequarry serve` does under load: many clients, slow ones, rude ones, and more than it can take.

    python -m codequarry.benchmarks.serving_load

Starts the server as users do, on a free port of this machine, and loads it from the same machine, so that
both share its processor. Ends it with SIGTERM in the middle of work and notes how it ended.
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from codequarry.benchmarks.http_load import Request, Seen, keep_asking, milliseconds, together
from codequarry.common.errors import run_program
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
    from codequarry.common.environment import origin, written_command

    if arguments.clients < 1 or arguments.seconds <= 0:
        raise ValueError("a load test needs at least one client and some time: pass larger numbers.")
    words = [arguments.model, "--queue-texts", str(arguments.queue_texts), "--max-body", str(_BODY)]
    words += [
        "--max-requests",
        str(8 * arguments.clients + 32),
        "--max-texts",
        str(_MANY),
        "--name",
        "loaded",
    ]
    words += ["--device", arguments.device] if arguments.device else []
    server, address = start(words)
    try:
        parts = asyncio.run(_measure(address, arguments.clients, arguments.seconds))
        memory = _peak_mib(server.pid)
        end = asyncio.run(_end_at_work(server, address, arguments.clients))
    finally:
        server.kill()
        server.communicate()
    record = {
        "measured": "codequarry serve under load",
        "model": arguments.model,
        **origin(written_command(_PROGRAM)),
        "server": {"queue_texts": arguments.queue_texts, "peak_mib": memory},
        "parts": parts,
        "end": end,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, record)
    print(f"{serving_table(record)}\n\n{serving_notes(record)}\n\nwrote {arguments.out}")


def start(words: Sequence[str]) -> tuple["subprocess.Popen[str]", Address]:
    """`codequarry serve` with these words, on a free port, and where it answers.

    Raises ValueError with what it said, where it did not start.
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
    raise ValueError(f"the server did not start: {''.join(said).strip()[-500:]}")


async def _measure(address: Address, clients: int, seconds: float) -> list[dict[str, Any]]:
    mixed, many = _mixed_requests(), _batch_requests(_MANY)
    await keep_asking(address, mixed, time.perf_counter() + min(2, seconds))  # warm caches, not measured
    return [
        await _part("one client, one query at a time", address, seconds, 1, _queries()),
        await _part(f"{clients} clients", address, seconds, clients, mixed),
        await _part(
            f"{clients} clients beside slow and rude ones", address, seconds, clients, mixed, rude=True
        ),
        await _part(f"{4 * clients} clients, {_MANY} texts each", address, seconds, 4 * clients, many),
    ]


async def _part(
    name: str,
    address: Address,
    seconds: float,
    clients: int,
    requests: Callable[[int], Request],
    *,
    rude: bool = False,
) -> dict[str, Any]:
    started = time.perf_counter()
    until = started + seconds

    def shifted(client: int) -> Callable[[int], Request]:
        return lambda number: requests(number + client)

    health = asyncio.create_task(_health(address, until))
    others = {kind: asyncio.create_task(task) for kind, task in _rude(address, until).items()} if rude else {}
    asking = [keep_asking(address, shifted(client), until) for client in range(clients)]
    seen = together(await asyncio.gather(*asking))
    over = time.perf_counter() - started
    checks = await health
    return {
        "name": name,
        "clients": clients,
        **seen.summary(over),
        "health_p99_ms": milliseconds(checks.seconds, 99),
        "health_failed": sum(checks.statuses.values()) - checks.statuses[200] + sum(checks.errors.values()),
        "beside": {kind: _counts(together(await task)) for kind, task in others.items()},
    }


async def _health(address: Address, until: float) -> Seen:
    return await keep_asking(address, lambda _: Request("/health", b""), until, method="GET", rest=0.1)


def _rude(address: Address, until: float) -> "dict[str, Any]":
    whole = json.dumps({"inputs": ["x"], "prompt_name": "query"}).encode()

    def eight(request: Request, *, pause: float = 0, rest: float = 0.05) -> Any:
        return asyncio.gather(
            *(keep_asking(address, lambda _: request, until, pause=pause, rest=rest) for _ in range(8))
        )

    async def slow() -> list[Seen]:  # a body of 41 bytes in four seconds, within the server's ten
        return list(await eight(Request("/embed", whole, 1), pause=0.1))

    async def oversize() -> list[Seen]:
        return list(await eight(Request("/embed", b" " * (2 * _BODY))))

    async def malformed() -> list[Seen]:
        return list(await eight(Request("/v1/embeddings", whole[:-1])))

    return {"slow": slow(), "oversize": oversize(), "malformed": malformed()}


async def _end_at_work(server: "subprocess.Popen[str]", address: Address, clients: int) -> dict[str, Any]:
    """Tell the server to stop while every client waits for an answer."""
    until = time.perf_counter() + 0.5
    asking = [asyncio.create_task(keep_asking(address, _mixed_requests(), until)) for _ in range(clients)]
    await asyncio.sleep(0.4)
    told = time.perf_counter()
    server.send_signal(signal.SIGTERM)
    seen = together(await asyncio.gather(*asking))
    code = await asyncio.to_thread(server.wait, 120)
    return {"exit": code, "seconds": round(time.perf_counter() - told, 2), **_counts(seen)}


def _counts(seen: Seen) -> dict[str, Any]:
    return {
        "statuses": {str(status): count for status, count in sorted(seen.statuses.items())},
        "errors": dict(sorted(seen.errors.items())),
    }


def _queries() -> Callable[[int], Request]:
    lines = [text.strip().splitlines()[0] for text in _functions()]
    return lambda number: _openai("nl2code_query", [lines[number % len(lines)]])


def _batch_requests(size: int) -> Callable[[int], Request]:
    texts = _functions()

    def request(number: int) -> Request:
        first = number * size
        return _openai("nl2code_document", [texts[(first + one) % len(texts)] for one in range(size)])

    return request


def _mixed_requests() -> Callable[[int], Request]:
    """In turn: a query, a document by the other route, sixteen documents."""
    queries, batches, texts = _queries(), _batch_requests(_DOCUMENTS), _functions()

    def request(number: int) -> Request:
        if number % 3 == 0:
            return queries(number)
        if number % 3 == 1:
            body = {"inputs": texts[number % len(texts)], "prompt_name": "nl2code_document"}
            return Request("/embed", json.dumps(body).encode(), 1)
        return batches(number)

    return request


def _openai(prompt: str, texts: Sequence[str]) -> Request:
    body = {"model": f"loaded:{prompt}", "input": texts, "encoding_format": "base64"}
    return Request("/v1/embeddings", json.dumps(body).encode(), len(texts))


@cache
def _functions() -> list[str]:
    """Real code that every Python has: the functions of a few modules, at most 1,500 characters each."""
    import ast
    import inspect
    import shutil
    import statistics
    import tempfile
    import textwrap

    found = []
    for module in (shutil, statistics, tempfile, textwrap):
        source = inspect.getsource(module)
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                found.append("\n".join(lines[node.lineno - 1 : node.end_lineno])[:1500])
    return found


def _peak_mib(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), None)


def serving_table(record: dict[str, Any]) -> str:
    """The parts of a results file, a line each."""
    head = ["load", "requests/s", "texts/s", "p50 ms", "p95 ms", "p99 ms", "429s", "errors", "/health p99 ms"]
    lines = [
        [
            part["name"],
            f"{part['requests_per_second']:.1f}",
            f"{part['texts_per_second']:.1f}",
            *(
                "-" if part["latency_ms"][name] is None else f"{part['latency_ms'][name]:.0f}"
                for name in _PARTS
            ),
            str(part["statuses"].get("429", 0)),
            str(_failures(part)),
            "-" if part["health_p99_ms"] is None else f"{part['health_p99_ms']:.0f}",
        ]
        for part in record["parts"]
    ]
    return markdown_table(head, lines)


_PARTS = ("p50", "p95", "p99")


def serving_notes(record: dict[str, Any]) -> str:
    """What the slow and the rude were told, and how the server ended, in sentences."""
    sentences = [
        f"{kind} clients: {_told(counts)}."
        for part in record["parts"]
        for kind, counts in part["beside"].items()
    ]
    end = record["end"]
    sentences.append(
        f"Told to stop at work: exit code {end['exit']} after {end['seconds']} s; clients: {_told(end)}."
    )
    return "\n".join(sentences)


def _told(counts: dict[str, Any]) -> str:
    said = [f"status {status} {count} times" for status, count in counts["statuses"].items()]
    said += [f"{error} {count} times" for error, count in counts["errors"].items()]
    return ", ".join(said) or "nothing"


def _failures(part: dict[str, Any]) -> int:
    """Answers that are neither vectors nor 429, and connections that broke."""
    other = sum(count for status, count in part["statuses"].items() if status not in ("200", "429"))
    return int(other + sum(part["errors"].values()))


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
