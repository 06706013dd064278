"""Vectors of many texts on a Ray cluster: Ray Data's actors hold the model, the caller writes the files."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from codequarry.common.errors import MissingPackageError, UserError
from codequarry.inference.bulk import Compute, Settings, shard_vectors

if TYPE_CHECKING:
    from codequarry.inference.encoder import Vectors
    from codequarry.inference.load import RuntimeName

# Files that are sent to the cluster together, for each worker: Ray Data starts its actors anew for the next.
_FILES_OF_A_WORKER = 16

Row = dict[str, Any]


def on_ray(
    model: str,
    settings: Settings,
    *,
    dims: int | None = None,
    runtime: "RuntimeName" = "packed",
    address: str | None = None,
    workers: int | None = None,
) -> Compute:
    """What `bulk.write_shards` computes with on a Ray cluster.

    Arguments:
        model: a name or folder as in `codequarry.load`, which every machine of the cluster has.
        settings: of the files.
        dims, runtime: as in `codequarry.load`.
        address: of the cluster, as in `ray.init`; None starts one on this machine.
        workers: actors, of one processor core each; None for as many as the cluster has cores.

    Ray computes the file of a worker that died on another one. Memory here and there is that of 16 files'
    texts and vectors for each worker.

    Raises MissingPackageError without Ray, and UserError for a cluster that is not reached and, from a
    worker, for a model that is another one there or cannot compute as the settings say.

    >>> write_shards(records, on_ray("mini", settings, workers=2), Path("vectors"), settings)
    """
    ray = _ray()
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}: pass 1 or more.")
    if not ray.is_initialized():
        local: dict[str, Any] = {} if address else {"include_dashboard": False, "num_cpus": workers}
        try:
            ray.init(address, log_to_driver=False, logging_level="error", **local)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}): start one with ray "
                "start --head, or leave --address out."
            ) from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    actors = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    options = {"name": model, "dims": dims, "runtime": runtime, "settings": asdict(settings)}

    def compute(files: Iterator[tuple[int, list[str]]]) -> "Iterator[tuple[int, Vectors, list[int]]]":
        while some := list(islice(files, actors * _FILES_OF_A_WORKER)):
            rows = [{"number": number, "texts": json.dumps(texts)} for number, texts in some]
            found = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                Worker,
                fn_constructor_kwargs=options,
                compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows))),
                num_cpus=1,
            )
            try:
                for row in found.iter_rows():
                    vectors = np.frombuffer(row["vectors"], np.float32).reshape(-1, settings.dims)
                    yield row["number"], vectors, json.loads(row["silent"])
            except ray.exceptions.RayError as error:
                raise _own_error(error) or error from None

    return compute


class Worker:
    """A model in an actor. Arguments as of `on_ray`; `settings` as plain data.

    Raises UserError where this machine does not give the vectors that the settings promise.
    """

    def __init__(self, name: str, dims: int | None, runtime: "RuntimeName", settings: dict[str, Any]) -> None:
        import torch

        from codequarry.inference.encoder import Encoder, can_use_bf16
        from codequarry.inference.open import open_model

        torch.set_num_threads(1)  # Ray gives each actor one core
        self._settings = Settings(**settings)
        model = open_model(name, dims=dims, runtime=runtime, bars=False)
        if model.fingerprint != self._settings.fingerprint:
            raise UserError(f"{name} is another model on a machine of the cluster: copy its folder there.")
        if self._settings.arithmetic == "bf16" and not can_use_bf16(model):
            raise UserError("a machine of the cluster is not fast in bf16: pass --fp32.")
        self._encoder = Encoder(model)

    def __call__(self, row: Row) -> Row:
        """The vectors of one file's texts, as bytes of float32."""
        vectors, silent = shard_vectors(self._encoder, json.loads(row["texts"]), self._settings)
        data = np.ascontiguousarray(vectors, dtype=np.float32).tobytes()
        return {"number": row["number"], "vectors": data, "silent": json.dumps(silent)}


def _own_error(error: BaseException) -> UserError | None:
    """The UserError that a worker raised, out of what Ray wraps it in."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, UserError):
            return UserError(str(seen.args[0]) if seen.args else str(seen))
        seen = getattr(seen, "cause", None) or seen.__cause__
    return None


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as missing:
        raise MissingPackageError(
            "the engine ray needs Ray, which is not installed: pip install 'codequarry[ray]'"
        ) from missing
    return ray
