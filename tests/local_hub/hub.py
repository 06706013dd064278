"""What is answered to each request, and what can be made to go wrong."""

import base64
import itertools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from repository import LFS_ENDINGS, File, Files, PullRequest, Refusal, Repository, git_oid

LFS_ABOVE = 10_000_000  # bytes; and whatever has one of the endings
LONG_AGO = "2026-01-01T00:00:00.000Z"  # every date there is


@dataclass
class Faults:
    """What is to go wrong, until other faults are set.

    interrupt_uploads: which LFS uploads, counted from 1, break off in the middle.
    corrupt: path of a file whose stored bytes are changed when it is committed; its checksum is not.
    move_main: another author's commit reaches main `after_commit` or `at_merge` of a pull request.
    fail: action → status it is answered with; actions are the names of the methods of `Hub`.
    lose_answer: actions that are done, and the connection closed in place of an answer.
    delay: seconds before each answer.
    new_pull_requests: their status, `open` or `draft`.
    """

    interrupt_uploads: list[int] = field(default_factory=list)
    corrupt: str | None = None
    move_main: str | None = None
    fail: dict[str, int] = field(default_factory=dict)
    lose_answer: list[str] = field(default_factory=list)
    delay: float = 0.0
    new_pull_requests: str = "open"


@dataclass
class Asked:
    """One request, taken apart. rest: what follows the action in the path, mostly a revision."""

    address: str
    body: bytes
    query: dict[str, str]
    token: str
    repo: str = ""
    raw_rest: str = ""

    @property
    def rest(self) -> str:
        return unquote(self.raw_rest)

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())

    def writer(self) -> str:
        """Who asks; only those with a token may write."""
        if not self.token.startswith("hf_"):
            raise Refusal(401, "Invalid username or password.")
        return self.token.split("_")[1]


class Hub:
    """What is answered to each request: one method an action, named in ROUTES."""

    def __init__(self, folder: Path) -> None:
        self.lfs_folder = folder
        self.repositories: dict[str, Repository] = {}
        self.faults = Faults()
        self.requests: list[dict[str, Any]] = []
        self.uploads = itertools.count(1)
        self.lock = threading.Lock()

    def repository(self, name: str) -> Repository:
        if name not in self.repositories:
            raise Refusal(404, "Repository not found", "RepoNotFound")
        return self.repositories[name]

    def _pull(self, asked: "Asked") -> tuple[Repository, PullRequest]:
        repository = self.repository(asked.repo)
        if int(asked.rest) not in repository.pulls:
            raise Refusal(404, "Discussion not found")
        return repository, repository.pulls[int(asked.rest)]

    def whoami(self, asked: "Asked") -> Any:
        token = {"displayName": "tests", "role": "write"}
        return {"type": "user", "name": asked.writer(), "orgs": [], "auth": {"accessToken": token}}

    def create_repository(self, asked: "Asked") -> Any:
        wish = asked.json()
        name = f"{wish.get('organization') or asked.writer()}/{wish['name']}"
        if name in self.repositories:
            raise Refusal(409, "You already created this model repo")
        asked.writer()
        self.repositories[name] = Repository(name)
        return {"url": f"{asked.address}/{name}", "name": name, "id": name}

    def validate_card(self, asked: "Asked") -> Any:
        card = asked.json()["content"]
        if card.startswith("---\n") and "\n---\n" not in card:
            raise Refusal(400, "the metadata block is not closed")
        return {"errors": [], "warnings": [] if card.startswith("---\n") else [{"message": "empty metadata"}]}

    def choose_upload_mode(self, asked: "Asked") -> Any:
        there = self.repository(asked.repo).at(asked.rest).files
        rows = []
        for wish in asked.json()["files"]:
            large = wish["path"].endswith(LFS_ENDINGS) or wish["size"] > LFS_ABOVE
            lfs = large or b"\0" in base64.b64decode(wish["sample"])
            file = there.get(wish["path"])
            rows.append(
                {
                    "path": wish["path"],
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    "oid": file and (file.sha256 or file.oid),
                }
            )
        return {"files": rows}

    def lfs_batch(self, asked: "Asked") -> Any:
        asked.writer()
        rows = []
        for wish in asked.json()["objects"]:
            row = {"oid": wish["oid"], "size": wish["size"]}
            if not (self.lfs_folder / wish["oid"]).is_file():
                # As those of the Hub's storage, the address itself opens the door: it must not be shown.
                upload = f"{asked.address}/lfs/{wish['oid']}?signature=secret-of-this-address"
                verify = f"{asked.address}/lfs/verify"
                row["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            rows.append(row)
        return {"transfer": "basic", "objects": rows}

    def verify_upload(self, asked: "Asked") -> Any:
        if not (self.lfs_folder / asked.json()["oid"]).is_file():
            raise Refusal(404, "Object not found")
        return {}

    def commit(self, asked: "Asked") -> Any:
        repository, author = self.repository(asked.repo), asked.writer()
        head, *changes = [json.loads(line) for line in asked.body.decode().splitlines() if line.strip()]
        summary, description = head["value"]["summary"], head["value"].get("description", "")
        as_pull_request = asked.query.get("create_pr") == "1"
        expected, found = head["value"].get("parentCommit"), repository.at(asked.rest)
        if expected and as_pull_request:
            found = repository.at(expected)
        elif expected and expected != found.id:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = self._changed(found.files, changes)
        made = repository.add(found.id, files, summary, description, author)
        answer = {
            "success": True,
            "commitOid": made.id,
            "commitUrl": f"{asked.address}/{asked.repo}/commit/{made.id}",
        }
        if as_pull_request:
            pull = PullRequest(
                num=len(repository.pulls) + 1,
                title=summary,
                description=description,
                author=author,
                base=found.id,
                status=self.faults.new_pull_requests,
            )
            repository.pulls[pull.num] = pull
            repository.branches[f"refs/pr/{pull.num}"] = made.id
            answer["pullRequestUrl"] = f"{asked.address}/{asked.repo}/discussions/{pull.num}"
            if self.faults.move_main == "after_commit":
                repository.somebody_commits()
        else:
            repository.branches[asked.rest] = made.id
        return answer

    def _changed(self, files: Files, changes: list[dict[str, Any]]) -> Files:
        files = dict(files)
        for change in changes:
            kind, value = change["key"], change["value"]
            path = value["path"]
            if kind == "file":
                files[path] = File.regular(base64.b64decode(value["content"]))
            elif kind == "lfsFile":
                stored = self.lfs_folder / value["oid"]
                if not stored.is_file():
                    raise Refusal(400, f"LFS object {value['oid']} was not uploaded")
                files[path] = File.lfs(value["oid"], stored.stat().st_size)
            elif kind == "deletedFile" and path in files:
                del files[path]
            else:
                raise Refusal(404, f"cannot do {kind} at {path}", "EntryNotFound")
            if kind != "deletedFile" and path == self.faults.corrupt:
                files[path] = self._corrupt(files[path])
        return files

    def _corrupt(self, file: File) -> File:
        if file.content is not None:
            return replace(file, content=bytes([file.content[0] ^ 1]) + file.content[1:])
        with (self.lfs_folder / str(file.sha256)).open("r+b") as stored:
            stored.seek(file.size // 2)
            (byte,) = stored.read(1)
            stored.seek(file.size // 2)
            stored.write(bytes([byte ^ 1]))
        return file

    def about(self, asked: "Asked") -> Any:
        commit = self.repository(asked.repo).at(asked.rest or "main")
        return {
            "_id": asked.repo,
            "id": asked.repo,
            "modelId": asked.repo,
            "sha": commit.id,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "createdAt": LONG_AGO,
            "lastModified": LONG_AGO,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }

    def tree(self, asked: "Asked") -> Any:
        revision, _, below = asked.raw_rest.partition("/")
        files = self.repository(asked.repo).at(unquote(revision)).files
        start = f"{unquote(below)}/" if below else ""
        files = {path: file for path, file in files.items() if path.startswith(start)}
        if below and not files:
            raise Refusal(404, f"{unquote(below)} does not exist", "EntryNotFound")
        folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
        rows = [file.row(path) for path, file in files.items()]
        rows += [{"type": "directory", "path": path, "oid": git_oid(path.encode())} for path in folders]
        rows = [row for row in rows if row["path"].startswith(start)]
        if asked.query.get("recursive", "").lower() != "true":
            rows = [row for row in rows if "/" not in row["path"].removeprefix(start)]
        return sorted(rows, key=lambda row: row["path"])

    def paths_info(self, asked: "Asked") -> Any:
        files = self.repository(asked.repo).at(asked.rest).files
        return [files[path].row(path) for path in asked.form().get("paths", []) if path in files]

    def commits(self, asked: "Asked") -> Any:
        return [
            {
                "id": commit.id,
                "title": commit.title,
                "message": commit.message,
                "date": LONG_AGO,
                "authors": [{"user": commit.author}],
            }
            for commit in self.repository(asked.repo).history(asked.rest)
        ]

    def refs(self, asked: "Asked") -> Any:
        def rows(names: dict[str, str], prefix: str) -> list[dict[str, str]]:
            return [{"name": name, "ref": prefix + name, "targetCommit": to} for name, to in names.items()]

        repository = self.repository(asked.repo)
        pulls = {name: to for name, to in repository.branches.items() if name.startswith("refs/pr/")}
        branches = {name: to for name, to in repository.branches.items() if name not in pulls}
        answer = {"branches": rows(branches, "refs/heads/"), "tags": rows(repository.tags, "refs/tags/")}
        return answer | {"converts": [], "pullRequests": rows(pulls, "")}

    def create_tag(self, asked: "Asked") -> Any:
        repository, tag = self.repository(asked.repo), asked.json()["tag"]
        asked.writer()
        if tag in repository.tags:
            raise Refusal(409, f"Tag {tag} already exists")
        repository.tags[tag] = repository.at(asked.rest).id
        return {}

    def delete_tag(self, asked: "Asked") -> Any:
        asked.writer()
        self.repository(asked.repo).tags.pop(asked.rest)
        return {}

    def create_branch(self, asked: "Asked") -> Any:
        repository, wish = self.repository(asked.repo), asked.json()
        asked.writer()
        if asked.rest in repository.branches:
            raise Refusal(409, f"Branch {asked.rest} already exists")
        repository.branches[asked.rest] = repository.at(wish.get("startingPoint") or "main").id
        return {}

    def list_pull_requests(self, asked: "Asked") -> Any:
        repository, query = self.repository(asked.repo), asked.query
        rows = [
            self._pull_row(repository, pull)
            for pull in repository.pulls.values()
            if query.get("status") in (None, pull.status, {"draft": "open"}.get(pull.status))
            and query.get("author", pull.author) == pull.author
        ]
        return {"count": len(rows), "start": 0, "discussions": rows}

    def pull_request(self, asked: "Asked") -> Any:
        repository, pull = self._pull(asked)
        changes = {"base": "refs/heads/main", "mergeCommitId": pull.merged_as}
        told = {"edited": False, "hidden": False, "latest": {"raw": pull.description}}
        event = {"id": "0", "type": "comment", "createdAt": LONG_AGO, "author": {"name": pull.author}}
        details = {"changes": changes, "filesWithConflicts": [], "events": [event | {"data": told}]}
        return self._pull_row(repository, pull) | details

    def _pull_row(self, repository: Repository, pull: PullRequest) -> dict[str, Any]:
        return {
            "num": pull.num,
            "title": pull.title,
            "status": pull.status,
            "author": {"name": pull.author},
            "createdAt": LONG_AGO,
            "isPullRequest": True,
            "repo": {"name": repository.name, "type": "model"},
        }

    def merge(self, asked: "Asked") -> Any:
        repository, pull = self._pull(asked)
        if self.faults.move_main == "at_merge":
            repository.somebody_commits()
        if pull.status != "open":
            raise Refusal(409, f"The pull request is {pull.status}")
        repository.merge(pull, asked.writer())
        return {}

    def change_status(self, asked: "Asked") -> Any:
        _, pull = self._pull(asked)
        asked.writer()
        pull.status = asked.json()["status"]
        event = {"id": "1", "type": "status-change", "createdAt": LONG_AGO, "data": {"status": pull.status}}
        return {"newStatus": event}


Action = Callable[[Hub, "Asked"], Any]
MODEL = r"/api/models/(?P<repo>[^/]+/[^/]+)"
ROUTES: tuple[tuple[str, str, Action], ...] = (
    ("GET", r"/api/whoami-v2", Hub.whoami),
    ("POST", r"/api/repos/create", Hub.create_repository),
    ("POST", r"/api/validate-yaml", Hub.validate_card),
    ("POST", MODEL + r"/preupload/(?P<rest>.+)", Hub.choose_upload_mode),
    ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", Hub.lfs_batch),
    ("POST", r"/lfs/verify", Hub.verify_upload),
    ("POST", MODEL + r"/commit/(?P<rest>.+)", Hub.commit),
    ("GET", MODEL, Hub.about),
    ("GET", MODEL + r"/revision/(?P<rest>.+)", Hub.about),
    ("GET", MODEL + r"/tree/(?P<rest>.+)", Hub.tree),
    ("POST", MODEL + r"/paths-info/(?P<rest>.+)", Hub.paths_info),
    ("GET", MODEL + r"/commits/(?P<rest>.+)", Hub.commits),
    ("GET", MODEL + r"/refs", Hub.refs),
    ("POST", MODEL + r"/tag/(?P<rest>.+)", Hub.create_tag),
    ("DELETE", MODEL + r"/tag/(?P<rest>.+)", Hub.delete_tag),
    ("POST", MODEL + r"/branch/(?P<rest>.+)", Hub.create_branch),
    ("GET", MODEL + r"/discussions", Hub.list_pull_requests),
    ("GET", MODEL + r"/discussions/(?P<rest>\d+)", Hub.pull_request),
    ("POST", MODEL + r"/discussions/(?P<rest>\d+)/merge", Hub.merge),
    ("POST", MODEL + r"/discussions/(?P<rest>\d+)/status", Hub.change_status),
)


def route(method: str, path: str) -> tuple[Action, dict[str, str]]:
    """The action that a request asks for, and the named parts of its path."""
    for known, pattern, action in ROUTES:
        if known == method and (match := re.fullmatch(pattern, path)):
            return action, match.groupdict()
    raise Refusal(404, f"this Hub does not know {method} {path}")
