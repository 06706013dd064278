"""`codequarry serve`: a model behind HTTP, in OpenAI's shape and in text-embeddings-inference's.

    codequarry serve mini
    curl -s localhost:8080/v1/embeddings -H 'content-type: application/json' \\
         -d '{"model": "mini:nl2code_query", "input": "parse a date"}'
"""

import argparse
from pathlib import Path

from codequarry.common.errors import run_program
from codequarry.integrations.serve.limits import Limits

EXAMPLE = "codequarry serve mini"
MORE = """\
POST /v1/embeddings   as OpenAI's: model, input, dimensions, encoding_format; and our task and side,
                      or the prompt behind the model's name: "mini:nl2code_query"
POST /embed           as text-embeddings-inference's: inputs, prompt_name, normalize, truncate, dimensions
GET  /v1/models, /health, /info

A request that names no prompt is refused, unless --default-prompt is given.
"""
_DEFAULTS = Limits()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry serve`."""
    add = parser.add_argument
    add("model", nargs="?", default="mini", help="mini, a model folder or a Hub name (default: mini)")
    add("--revision", help="Hub branch, tag or commit (default: the newest)")
    add("--device", help="where the model computes, such as cpu or cuda (default: the fastest there is)")
    add("--name", help="what clients call the model (default: the folder's or the Hub's name)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine alone)")
    add("--port", type=int, default=8080, help="port to listen on, 0 for a free one (default: %(default)s)")
    add(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="clients must show the key in this file, as 'Authorization: Bearer KEY'; the environment "
        "variable CODEQUARRY_API_KEY does the same",
    )
    add("--no-key", action="store_true", help="let other machines in without a key")
    add(
        "--default-prompt",
        metavar="PROMPT",
        help="prompt of requests that name none, such as nl2code_document (default: they are refused)",
    )
    add(
        "--batch-texts",
        type=int,
        default=_DEFAULTS.batch_texts,
        help="texts that share a forward pass (default: %(default)s)",
    )
    add(
        "--queue-texts",
        type=int,
        default=_DEFAULTS.queue_texts,
        help="texts that may wait; beyond, requests get status 429 (default: %(default)s)",
    )
    add("--max-texts", type=int, default=_DEFAULTS.texts, help="texts a request (default: %(default)s)")
    add(
        "--max-characters",
        type=int,
        default=_DEFAULTS.characters,
        help="characters a text (default: %(default)s)",
    )
    add(
        "--max-body",
        type=int,
        default=_DEFAULTS.body_bytes,
        metavar="BYTES",
        help="bytes a request (default: %(default)s)",
    )
    add(
        "--max-requests",
        type=int,
        default=_DEFAULTS.requests,
        help="requests at a time; these many bodies are in memory at worst (default: %(default)s)",
    )
    add(
        "--finish-seconds",
        type=float,
        default=_DEFAULTS.finish_seconds,
        help="for what is waiting when the server is told to stop (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Load the model, listen, and answer until told to stop."""
    from codequarry.integrations.serve.auth import read_key, refuse_open_door

    limits = Limits(
        body_bytes=arguments.max_body,
        texts=arguments.max_texts,
        characters=arguments.max_characters,
        requests=arguments.max_requests,
        queue_texts=arguments.queue_texts,
        batch_texts=arguments.batch_texts,
        finish_seconds=arguments.finish_seconds,
    )
    key = read_key(arguments.api_key_file)
    refuse_open_door(arguments.host, key, no_key=arguments.no_key)
    try:
        from codequarry.integrations.serve.app import Service
        from codequarry.integrations.serve.server import bind, serve
    except ModuleNotFoundError as error:
        if error.name not in ("pydantic", "starlette", "uvicorn"):
            raise
        raise ValueError(f"{error.name} is not installed: pip install 'codequarry[serve]'.") from error
    bound = bind(arguments.host, arguments.port)  # before seconds are spent on loading a model
    from transformers.utils.logging import disable_progress_bar

    from codequarry.inference.encoder import Encoder, served
    from codequarry.inference.load import load

    disable_progress_bar()
    model = load(arguments.model, revision=arguments.revision, device=arguments.device)
    name = arguments.name or name_of(arguments.model)
    service = Service(
        Encoder(model, batch_size=limits.batch_texts),
        served(model, name),
        limits=limits,
        default_prompt=arguments.default_prompt,
        key=key,
    )
    serve(service, bound, name=name, limits=limits)


def name_of(model: str) -> str:
    """What clients call a model: a folder's own name, or the name it was asked for by."""
    folder = Path(model)
    return folder.resolve().name if folder.is_dir() else model


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
