"""A Hub small enough to read, which the real `huggingface_hub` client takes for the Hub.

    python tests/local_hub/server.py FOLDER     # prints its address; ends when its standard input does

Models only, loopback only, nothing but the standard library. It knows repositories with commits, branches,
tags and pull requests; regular files, which are held in memory; and LFS files, which are streamed through
FOLDER, so that gigabytes may pass. What the Hub refuses, it refuses with the same status and headers. Reading
needs no token. Writing does, and whose it is stands in it: `hf_me_…` belongs to the user `me`.

Clients set HF_HUB_DISABLE_XET=1: files go the LFS way. What can go wrong is set by `POST /__faults` with the
fields of `Faults` as JSON; `GET /__requests` lists what was asked.
"""

import hashlib
import itertools
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub import Asked, Faults, Hub, route
from repository import Refusal

PIECE = 1 << 20  # bytes read and written at a time


class Connection(BaseHTTPRequestHandler):
    """HTTP around the Hub: reading requests, writing answers, and the bytes of files."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer in two pieces waits 40 ms for the client
    hub: Hub  # set by `serve`

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _pieces(self) -> Iterator[bytes]:
        """The body, a piece at a time, whether or not its length was announced."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0 and (piece := self.rfile.read(min(left, PIECE))):
            left -= len(piece)
            yield piece

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body)), "X-Request-Id": "local"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/__"):
            self._set_and_show(parts.path)
            return
        time.sleep(self.hub.faults.delay)
        row = {"method": self.command, "path": parts.path, "action": ""}
        self.hub.requests.append(row)
        try:
            if parts.path.startswith("/lfs/") and self.command != "POST":
                row["action"] = "upload" if self.command == "PUT" else "download"
                self._lfs_bytes(parts.path.removeprefix("/lfs/"))
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", parts.path):
                row["action"] = "resolve"
                self._resolve(match[1], unquote(match[2]), unquote(match[3]))
            else:
                self._act(parts.path, parts.query, row)
        except Refusal as refusal:
            body = json.dumps({"error": str(refusal), "errors": [{"message": str(refusal)}]}).encode()
            codes = {"X_Error_Code": refusal.code} if refusal.code else {}
            self._answer(refusal.status, body, X_Error_Message=str(refusal), **codes)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _handle

    def _set_and_show(self, path: str) -> None:
        body = b"".join(self._pieces())
        if path == "/__faults":
            self.hub.faults = Faults(**json.loads(body))
            self.hub.uploads = itertools.count(1)
        self._answer(200, json.dumps(self.hub.requests).encode())

    def _act(self, path: str, query: str, row: dict[str, Any]) -> None:
        body = b"".join(self._pieces())  # read before anything is refused: the connection is used again
        action, named = route(self.command, path)
        name = row["action"] = action.__name__
        asked = Asked(
            address=f"http://{self.headers['Host']}",
            body=body,
            query={key: values[-1] for key, values in parse_qs(query).items()},
            token=(self.headers.get("Authorization") or "").removeprefix("Bearer "),
            repo=named.get("repo") or "",
            raw_rest=named.get("rest") or "",
        )
        if name in self.hub.faults.fail:
            raise Refusal(self.hub.faults.fail[name], f"{name} was made to fail")
        with self.hub.lock:
            answer = action(self.hub, asked)
        if name in self.hub.faults.lose_answer:
            self.close_connection = True
            return
        self._answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    def _lfs_bytes(self, oid: str) -> None:
        stored = self.hub.lfs_folder / oid
        if self.command == "PUT":
            self._store(stored)
            return
        size = stored.stat().st_size
        begin = int(re.sub(r"\D.*", "", (self.headers.get("Range") or "bytes=0").removeprefix("bytes=")))
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(size - begin))
        self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
        self.send_header("ETag", f'"{oid}"')
        self.end_headers()
        if self.command == "GET":
            with stored.open("rb") as file:
                file.seek(begin)
                while piece := file.read(PIECE):
                    self.wfile.write(piece)

    def _store(self, stored: Path) -> None:
        interrupted = next(self.hub.uploads) in self.hub.faults.interrupt_uploads
        beside, digest = stored.with_name(f"{stored.name}.{threading.get_ident()}"), hashlib.sha256()
        with beside.open("wb") as file:
            for piece in self._pieces():
                if interrupted:
                    beside.unlink()
                    self.close_connection = True
                    self.connection.close()
                    return
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != stored.name:
            beside.unlink()
            raise Refusal(400, "The content does not have the announced checksum")
        beside.replace(stored)
        self._answer(200)

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        with self.hub.lock:
            commit = self.hub.repository(repo).at(revision)
        if path not in commit.files:
            raise Refusal(404, f"{path} does not exist", "EntryNotFound")
        file = commit.files[path]
        about = {"X_Repo_Commit": commit.id}
        if file.content is not None:
            self._answer(200, file.content, ETag=f'"{file.oid}"', **about)
            return
        # The bytes lie with another host, as the Hub's do: clients then read the checksum from here.
        about |= {"X_Linked_ETag": f'"{file.sha256}"', "X_Linked_Size": str(file.size)}
        place = f"http://localhost:{self.server.server_address[1]}/lfs/{file.sha256}"
        self._answer(302, Location=place, **about)


def serve(folder: Path) -> None:
    """Serve at a free port of this machine until ended; the first line printed is the address."""
    folder.mkdir(parents=True, exist_ok=True)
    Connection.hub = Hub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    # Whoever started this holds its standard input: when they are gone, so is the Hub.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
