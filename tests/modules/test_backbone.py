import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from codequarry.modules import backbone
from codequarry.modules.backbone import EMBEDDED_BASE, MINI, PACKAGED, resolve_backbone

COMMIT = "a" * 40


def test_the_packaged_base_is_the_published_one(minilm: Path) -> None:
    assert resolve_backbone(EMBEDDED_BASE) == minilm
    assert (minilm / "model.safetensors").stat().st_size == 90_868_376  # as listed on the model's Hub page


def test_packaged_weights_with_one_byte_changed_are_refused(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / PACKAGED[0].package
    shutil.copytree(minilm.parent, package)
    weights = package / PACKAGED[0].folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[50_000_000] ^= 1
    weights.write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGED[0].package, raising=False)  # another test may have imported it
    with pytest.raises(ValueError, match=r"the published weights of .* have 53aa51172d14"):
        resolve_backbone(EMBEDDED_BASE)


def test_a_missing_package_names_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"only to train on it and to compare .* 'codequarry\[base\]'"):
        resolve_backbone(EMBEDDED_BASE)


def test_mini_is_the_folder_in_the_package_whatever_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "package/models/mini"
    for folder in (shipped, tmp_path / "here/mini"):
        folder.mkdir(parents=True)
        for name in ("config.json", "model.safetensors"):
            (folder / name).touch()
    monkeypatch.setattr(backbone, "MINI_FOLDER", shipped)
    monkeypatch.chdir(tmp_path / "here")
    assert resolve_backbone(MINI) == shipped
    assert resolve_backbone("./mini") == Path("mini")


def test_a_mini_without_its_weights_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone, "MINI_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"has no config\.json and no model\.safetensors"):
        resolve_backbone(MINI)
    (tmp_path / "config.json").touch()
    with pytest.raises(ValueError, match=r"has no model\.safetensors\. Install codequarry anew"):
        resolve_backbone(MINI)


def test_a_name_that_is_neither_folder_nor_hub_name_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a folder here nor a Hub name"):
        resolve_backbone("no/such/folder here")


class _Hub(BaseHTTPRequestHandler):
    """As much of the Hub as reading one model takes."""

    folder: ClassVar[Path]

    def do_GET(self) -> None:
        files = sorted(file.name for file in self.folder.iterdir())
        if self.path.startswith("/api/models/org/small/tree/"):
            self._json(
                [
                    {
                        "type": "file",
                        "path": name,
                        "oid": "0" * 40,
                        "size": (self.folder / name).stat().st_size,
                    }
                    for name in files
                ]
            )
        elif self.path.startswith("/api/models/org/small"):
            siblings = [{"rfilename": name} for name in files]
            self._json(
                {"id": "org/small", "modelId": "org/small", "sha": COMMIT, "siblings": siblings, "tags": []}
            )
        elif self.path.startswith(f"/org/small/resolve/{COMMIT}/"):
            self._bytes((self.folder / self.path.rpartition("/")[2]).read_bytes())
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET

    def _json(self, record: object) -> None:
        self._bytes(json.dumps(record).encode())

    def _bytes(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hash(content) & 0xFFFFFFFF:040x}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(small_decoder: Path):
    _Hub.folder = small_decoder
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def resolve_in_a_process(hub: str, cache: Path, name: str, lock: Path) -> subprocess.CompletedProcess[str]:
    """The real client reads its endpoint when it is imported, so each case is a process of its own."""
    program = (
        "import sys; from pathlib import Path; from codequarry.modules.backbone import resolve_backbone\n"
        "print(resolve_backbone(sys.argv[1], lock=Path(sys.argv[2])))"
    )
    environment = os.environ | {
        "HF_ENDPOINT": hub,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", program, name, str(lock)], env=environment, capture_output=True, text=True
    )


def test_a_hub_backbone_is_pinned_on_first_download_and_read_at_that_commit_afterwards(
    hub: str, small_decoder: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "backbones.lock.json"
    first = resolve_in_a_process(hub, tmp_path / "cache", "org/small", lock)
    assert first.returncode == 0, first.stderr
    assert json.loads(lock.read_text()) == {"org/small": COMMIT}
    folder = Path(first.stdout.strip())
    assert (folder / "model.safetensors").read_bytes() == (small_decoder / "model.safetensors").read_bytes()
    lock.write_text(json.dumps({"org/small": "b" * 40}))
    other = resolve_in_a_process(hub, tmp_path / "other", "org/small", lock)
    assert "org/small at bbbb" in other.stderr, (
        "the locked commit decides, even when the Hub does not have it"
    )


def test_a_model_that_the_hub_does_not_have_is_named(hub: str, tmp_path: Path) -> None:
    result = resolve_in_a_process(hub, tmp_path, "org/absent", tmp_path / "lock.json")
    assert "ValueError: org/absent at its newest commit could not be fetched" in result.stderr
    assert not (tmp_path / "lock.json").exists()
