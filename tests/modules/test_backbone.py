import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from codequarry.modules import backbone
from codequarry.modules.backbone import (
    EMBEDDED_BASE,
    GGUF_BACKBONES,
    GGUF_FOLDER,
    MINI,
    PACKAGED,
    GGUFBackbone,
    resolve_backbone,
)
from codequarry.modules.gguf_backbone import RECORD, sha256_of, source_sha256

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
    monkeypatch.setitem(backbone.SHIPPED, "mini", shipped)
    monkeypatch.chdir(tmp_path / "here")
    assert resolve_backbone(MINI) == shipped
    assert resolve_backbone("./mini") == Path("mini")


def test_a_mini_without_its_weights_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backbone.SHIPPED, "mini", tmp_path)
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
        elif self.path.startswith((f"/org/small/resolve/{COMMIT}/", "/org/small/resolve/main/")):
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


def resolve_in_a_process(
    hub: str, cache: Path, name: str, lock: Path, row: GGUFBackbone | None = None
) -> subprocess.CompletedProcess[str]:
    """The real client reads its endpoint when it is imported, so each case is a process of its own."""
    program = (
        "import sys; from pathlib import Path; from codequarry.modules import backbone\n"
        f"from codequarry.modules.backbone import GGUFBackbone; row = {row!r}\n"
        "backbone.GGUF_BACKBONES = (row,) if row else ()\n"
        "print(backbone.resolve_backbone(sys.argv[1], lock=Path(sys.argv[2])))"
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
    assert "UserError: org/absent at its newest commit could not be fetched" in result.stderr
    assert not (tmp_path / "lock.json").exists()


@pytest.mark.parametrize("row", GGUF_BACKBONES, ids=lambda row: row.name)
def test_a_row_says_which_file_it_is_and_under_which_licence(row: GGUFBackbone) -> None:
    assert "/" not in row.name
    assert row.repository.count("/") == 1
    assert row.revision is None or re.fullmatch("[0-9a-f]{40}", row.revision)
    assert row.file.endswith("-q4_k_m.gguf")
    assert re.fullmatch("[0-9a-f]{64}", row.sha256)
    assert row.size > 2e8
    assert row.licence == "Apache-2.0" or row.licence in row.note, (
        "terms of their own are named when it is used"
    )


def test_rows_are_told_apart_by_each_of_their_names() -> None:
    for names in zip(
        *[(row.name, row.repository, row.file, row.sha256) for row in GGUF_BACKBONES], strict=True
    ):
        assert len(set(names)) == len(GGUF_BACKBONES)


@pytest.fixture
def row(small_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GGUFBackbone:
    """The small file as a row, with an empty cache and no folder of the user's."""
    row = GGUFBackbone(
        name="small-coder",
        repository="org/small",
        revision=COMMIT,
        file=small_gguf.name,
        size=small_gguf.stat().st_size,
        sha256=sha256_of(small_gguf),
        licence="Apache-2.0",
    )
    monkeypatch.setattr(backbone, "GGUF_BACKBONES", (row,))
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(GGUF_FOLDER, raising=False)
    return row


def folder_with(source: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    return Path(shutil.copy(source, folder))


def test_a_gguf_is_found_in_the_users_folder_and_then_needed_no_more(
    row: GGUFBackbone, small_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder_with(small_gguf, tmp_path / "mine")
    monkeypatch.setenv(GGUF_FOLDER, str(file.parent))
    folder = resolve_backbone(row.name)
    assert folder == tmp_path / f"cache/backbones/small-coder-{row.sha256[:12]}"
    record = json.loads((folder / RECORD).read_text())
    expected = {"file": row.file, "size": row.size, "sha256": row.sha256, "licence": "Apache-2.0"}
    expected |= {"repository": "org/small", "revision": COMMIT}
    assert {key: record[key] for key in expected} == expected
    file.unlink()
    monkeypatch.setattr(backbone, "sha256_of", lambda path: pytest.fail("hashed again"))
    assert resolve_backbone(row.name) == resolve_backbone(row.repository) == folder
    assert resolve_backbone(row.name, revision=COMMIT) == folder


def test_a_gguf_is_found_in_the_cache(row: GGUFBackbone, small_gguf: Path, tmp_path: Path) -> None:
    folder_with(small_gguf, tmp_path / "cache/backbones")
    assert source_sha256(resolve_backbone(row.repository)) == row.sha256


def test_a_gguf_that_is_named_by_its_path_is_the_rows(
    row: GGUFBackbone, small_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_gguf.parent)
    assert resolve_backbone(row.file).name == f"small-coder-{row.sha256[:12]}"
    assert resolve_backbone(str(small_gguf)).name == f"small-coder-{row.sha256[:12]}"


@pytest.mark.parametrize(
    ("named", "change"), [(True, "size"), (True, "byte"), (False, "size"), (False, "byte")]
)
def test_another_file_under_a_rows_name_is_refused(
    row: GGUFBackbone,
    small_gguf: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: bool,
    change: str,
) -> None:
    file = folder_with(small_gguf, tmp_path / "mine")
    content = bytearray(file.read_bytes())
    if change == "size":
        content.append(0)
        expected = rf"has {row.size + 1:,} bytes; the published file has {row.size:,}\. Fetch small\.gguf"
    else:
        content[-5000] ^= 1
        expected = f"has sha256 [0-9a-f]{{64}}; the published file has {row.sha256}"
    file.write_bytes(content)
    monkeypatch.setenv(GGUF_FOLDER, str(file.parent))
    with pytest.raises(ValueError, match=expected):
        resolve_backbone(str(file) if named else row.name)
    assert not list((tmp_path / "cache").glob("backbones/small*"))


def test_a_gguf_that_is_not_here_names_the_ways_to_have_it(
    row: GGUFBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = (
        rf"small-coder needs small\.gguf \({row.size:,} bytes\), which is not here: put it into %s, or into "
        rf".*cache/backbones, or pass its path as backbone\.name, or let it be fetched: org/small at {COMMIT}"
    )
    with pytest.raises(ValueError, match=ways % f"a folder that {GGUF_FOLDER} names"):
        resolve_backbone(row.name)
    monkeypatch.setenv(GGUF_FOLDER, str(tmp_path / "mine"))
    with pytest.raises(ValueError, match=ways % f".*mine, the folder of {GGUF_FOLDER}"):
        resolve_backbone(row.name)


@pytest.mark.parametrize("revision", [COMMIT, None])
def test_a_gguf_is_fetched_from_the_hub_and_not_pinned_again(
    row: GGUFBackbone, hub: str, small_gguf: Path, tmp_path: Path, revision: str | None
) -> None:
    _Hub.folder = small_gguf.parent
    lock = tmp_path / "backbones.lock.json"
    fetched = resolve_in_a_process(hub, tmp_path / "hub", row.name, lock, replace(row, revision=revision))
    assert fetched.returncode == 0, fetched.stderr
    assert source_sha256(Path(fetched.stdout.strip())) == row.sha256
    assert not lock.exists()


def test_a_gguf_at_another_revision_is_refused(row: GGUFBackbone) -> None:
    with pytest.raises(ValueError, match=rf"with one sha256, at {COMMIT}; revision main asks for another"):
        resolve_backbone(row.name, revision="main")


def test_a_rows_name_is_the_row_whatever_lies_here(
    row: GGUFBackbone, small_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder_with(small_gguf, tmp_path / "mine")
    monkeypatch.setenv(GGUF_FOLDER, str(file.parent))
    (tmp_path / "here/small-coder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert source_sha256(resolve_backbone("small-coder")) == row.sha256
    assert resolve_backbone("./small-coder") == Path("small-coder")


def test_terms_of_use_are_printed_when_a_backbone_is_first_used(
    row: GGUFBackbone,
    small_gguf: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder_with(small_gguf, tmp_path / "cache/backbones")
    note = "Small is provided under the Small Terms of Use."
    monkeypatch.setattr(backbone, "GGUF_BACKBONES", (replace(row, licence="Small Terms of Use", note=note),))
    record = json.loads((resolve_backbone(row.name) / RECORD).read_text())
    assert note in capsys.readouterr().err
    assert record["licence"] == "Small Terms of Use"


def test_a_cache_that_cannot_be_written_is_named(
    row: GGUFBackbone, small_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"file/backbones cannot be written .* in CODEQUARRY_CACHE"):
        resolve_backbone(str(small_gguf))
