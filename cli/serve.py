"""`codequarry serve`: a model behind HTTP, in OpenAI's shape and in text-embeddings-inference's.

    codequarry serve mini
    curl -s localhost:8080/v1/embeddings -H 'content-type: application/json' \\
         -d '{"model": "mini:nl2code_query", "input": "parse a date"}'
"""

import argparse
from pathlib import Path

from codequarry.cli.model_options import add_runtime_option
from codequarry.common.errors import UserError, run_program
from codequarry.integrations.serve.requests import Limits

EXAMPLE = "codequarry serve mini"
MORE = """\
POST /v1/embeddings   as OpenAI's: model, input, dimensions, encoding_format; and our prompt_name, task and
                      side, input_type, or the prompt behind the model's name: "mini:nl2code_query"
POST /embed           as text-embeddings-inference's: inputs, prompt_name, normalize, truncate, dimensions
POST /similarity      as its: inputs of a source_sentence and sentences
POST /                either of both, as huggingface_hub sends them
GET  /v1/models, /v1/models/NAME, /health, /info, /metrics, /docs, /openapi.json

A request that names no prompt is refused, unless its texts begin with one or --default-prompt is given.
"""

# Option, field of Limits, what it counts.
_LIMITS = (
    ("--batch-texts", "batch_texts", "texts that share a forward pass"),
    ("--queue-texts", "queue_texts", "texts that may wait; beyond, requests get status 429"),
    ("--max-texts", "texts", "texts per request"),
    ("--max-characters", "characters", "characters per text"),
    ("--max-body", "body_bytes", "bytes per request"),
    ("--max-requests", "requests", "requests at a time; these many bodies are in memory at worst"),
    ("--max-connections", "connections", "open connections of one address; beyond, it gets status 429"),
    ("--finish-seconds", "finish_seconds", "seconds for waiting requests once the server is stopping"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `codequarry serve`."""
    add = parser.add_argument
    add("model", nargs="?", default="mini", help="mini, a model folder or a Hub name (default: mini)")
    add("--revision", help="Hub branch, tag or commit (default: the newest)")
    add("--device", help="where the model computes, such as cpu or cuda (default: the fastest there is)")
    add_runtime_option(parser)
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
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name that clients know this machine by; repeat it for several, *.example.org for all "
        "below one, '*' for any (default: the names of this machine for itself, and --host)",
    )
    add(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin, such as http://localhost:3000, use the server in a browser; "
        "repeat it for several, '*' for all (default: none)",
    )
    add(
        "--default-prompt",
        metavar="PROMPT",
        help="prompt of requests that name none, such as nl2code_document (default: they are refused)",
    )
    for option, field, words in _LIMITS:
        kind = float if field.endswith("seconds") else int
        default = getattr(Limits(), field)
        add(option, type=kind, default=default, metavar="N", help=f"{words} (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Load the model, listen, and answer requests until a signal."""
    from codequarry.integrations.serve.auth import read_key, refuse_open_door
    from codequarry.integrations.serve.hosts import Hosts, check_origins

    given = vars(arguments)
    limits = Limits(**{field: given[option[2:].replace("-", "_")] for option, field, _ in _LIMITS})
    key = read_key(arguments.api_key_file)
    refuse_open_door(arguments.host, key, no_key=arguments.no_key)
    hosts = Hosts(arguments.host, arguments.allowed_host)
    check_origins(arguments.cors_origin)
    try:
        from codequarry.integrations.serve.app import Service
        from codequarry.integrations.serve.server import bind, serve
        from codequarry.integrations.serve.token_ids import TokenIds
    except ModuleNotFoundError as error:
        if error.name not in ("pydantic", "starlette", "uvicorn"):
            raise
        raise UserError(f"{error.name} is not installed: pip install 'codequarry[serve]'.") from error
    bound = bind(arguments.host, arguments.port)  # before seconds are spent on loading a model
    from transformers.utils.logging import disable_progress_bar

    from codequarry.inference.encoder import Encoder, served
    from codequarry.inference.load import load

    disable_progress_bar()
    model = load(
        arguments.model, revision=arguments.revision, device=arguments.device, runtime=arguments.runtime
    )
    name = arguments.name or name_of(arguments.model)
    service = Service(
        Encoder(model, batch_size=limits.batch_texts),
        served(model, name),
        limits=limits,
        default_prompt=arguments.default_prompt,
        key=key,
        hosts=hosts,
        origins=arguments.cors_origin,
        token_ids=TokenIds(model.tokenizer),
    )
    serve(service, bound, name=name, limits=limits)


def name_of(model: str) -> str:
    """What clients call a model: a folder's own name, or else the name that was given."""
    folder = Path(model)
    return folder.resolve().name if folder.is_dir() else model


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
