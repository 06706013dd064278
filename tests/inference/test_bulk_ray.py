"""`codequarry embed --engine ray`: the files of the local engine, also where a worker is killed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codequarry.common.errors import MissingPackageError, UserError
from codequarry.inference import bulk_ray
from codequarry.inference.bulk import Record, Settings, embed_records, write_shards
from codequarry.inference.bulk_ray import on_ray
from codequarry.inference.open import open_model

parquet = pytest.importorskip("pyarrow.parquet")

RECORDS = [
    Record(f"def f{number}(x):\n    return x + {number}", {"id": f"n{number}"}) for number in range(60)
]
RECORDS[4] = Record("\x00", {"id": None})


@pytest.fixture(scope="module")
def model() -> Any:
    return open_model("mini", dims=64)


@pytest.fixture(scope="module")
def settings(model: Any) -> Settings:
    prompt = model.prompt_family.prefix("nl2code", "document")
    return Settings(model.fingerprint, prompt, "document", 64, "fp32", "float32", 5)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A local cluster of two cores."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'codequarry[ray]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def test_without_ray_a_sentence_names_its_command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'codequarry\[ray\]'"):
        on_ray("mini", settings)


@pytest.mark.exhaustive
def test_a_killed_worker_costs_no_text_and_the_files_are_those_of_the_local_engine(
    cluster: Any, model: Any, settings: Settings, tmp_path: Path
) -> None:
    out, killed = tmp_path / "ray", list[int]()

    def kill() -> None:
        while not list(out.glob("part-*.parquet")):
            time.sleep(0.02)
        killed.append(_workers()[0])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    done = write_shards(RECORDS, on_ray("mini", settings, dims=64, workers=2), out, settings, progress=False)
    thread.join(60)
    assert killed, "a worker was killed while others were at work"
    assert (done.written, done.kept, done.empty) == (60, 0, 1)
    embed_records(RECORDS, model, tmp_path / "local", settings, progress=False)
    names = sorted(file.name for file in out.iterdir())
    assert names == sorted(file.name for file in (tmp_path / "local").iterdir())
    for name in names:
        if name.endswith(".parquet"):
            one, other = (parquet.read_table(tmp_path / engine / name) for engine in ("ray", "local"))
            assert one.schema.metadata == other.schema.metadata
            assert one.drop_columns("vector") == other.drop_columns("vector")
            pairs = zip(one["vector"].to_pylist(), other["vector"].to_pylist(), strict=True)
            assert all(a is b or np.abs(np.subtract(a, b)).max() < 1e-6 for a, b in pairs)
    (out / "part-00007.parquet").unlink()
    again = write_shards(RECORDS, on_ray("mini", settings, dims=64, workers=2), out, settings, progress=False)
    assert (again.written, again.kept, again.empty) == (5, 55, 1)
    assert embed_records(RECORDS, model, out, settings, progress=False).kept == 60, "either engine resumes"


@pytest.mark.exhaustive
def test_another_model_on_the_cluster_is_a_sentence(cluster: Any, settings: Settings, tmp_path: Path) -> None:
    other = replace(settings, fingerprint="0" * 64)
    with pytest.raises(UserError, match="another model on a machine of the cluster"):
        write_shards(RECORDS[:3], on_ray("mini", other, dims=64, workers=1), tmp_path / "out", other)


def test_a_worker_gives_the_vectors_of_its_texts(model: Any, settings: Settings) -> None:
    worker = bulk_ray.Worker("mini", 64, "packed", asdict(settings))
    row = worker({"number": 3, "texts": '["x = 1", "\\u0000"]'})
    found = np.frombuffer(row["vectors"], np.float32).reshape(-1, 64)
    assert (row["number"], row["silent"], found.shape) == (3, "[1]", (1, 64))
    assert np.abs(found - model.encode(["x = 1"], prompt=settings.prompt)).max() < 1e-6


def _workers() -> list[int]:
    """The processes of this cluster's actors that hold the model."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"ray::") and b"Map(" in title and os.getpid() in _ancestors(folder):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended
    return found


def _ancestors(folder: Path) -> list[int]:
    parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
    return [parent, *_ancestors(Path(f"/proc/{parent}"))] if parent > 1 else [parent]
