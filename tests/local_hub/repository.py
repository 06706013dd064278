"""What a Hub keeps: files, commits, and the branches, tags and pull requests that point at them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LFS_ENDINGS = (".safetensors", ".onnx", ".onnx_data", ".gguf", ".bin")


class Refusal(Exception):
    """An answer that is not 200. code: the Hub's word for it, in the header X-Error-Code."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class File:
    """One file of a commit: `content` for a regular one, `sha256` for one in LFS."""

    size: int
    oid: str  # of the blob in git: the content, or the pointer to LFS
    content: bytes | None = None
    sha256: str | None = None

    @classmethod
    def regular(cls, content: bytes) -> "File":
        return cls(len(content), git_oid(content), content=content)

    @classmethod
    def lfs(cls, sha256: str, size: int) -> "File":
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        return cls(size, git_oid(pointer.encode()), sha256=sha256)

    def row(self, path: str) -> dict[str, Any]:
        row = {"type": "file", "path": path, "oid": self.oid, "size": self.size}
        if self.sha256 is not None:
            row["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return row


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


Files = dict[str, File]


@dataclass(frozen=True)
class Commit:
    """A whole tree, and where it came from."""

    id: str
    parent: str | None
    title: str
    message: str
    author: str
    files: Files


@dataclass
class PullRequest:
    """A branch `refs/pr/<num>` that asks to be merged into main."""

    num: int
    title: str
    description: str
    author: str
    base: str  # the commit of main it was made from
    status: str = "open"
    merged_as: str | None = None


class Repository:
    """Commits, and the names that point at them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.pulls: dict[int, PullRequest] = {}
        rules = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LFS_ENDINGS)
        first = self.add(None, {".gitattributes": File.regular(rules.encode())}, "initial commit", "", "hub")
        self.branches["main"] = first.id

    def add(self, parent: str | None, files: Files, title: str, message: str, author: str) -> Commit:
        tree = sorted((path, file.oid) for path, file in files.items())
        identity = json.dumps([len(self.commits), parent, tree, title, message, author])
        commit = Commit(
            hashlib.sha1(identity.encode()).hexdigest(), parent, title, message, author, dict(files)
        )
        self.commits[commit.id] = commit
        return commit

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or an id names."""
        commit = self.branches.get(revision) or self.tags.get(revision) or revision
        if commit not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[commit]

    def history(self, revision: str) -> Iterator[Commit]:
        commit: Commit | None = self.at(revision)
        while commit is not None:
            yield commit
            commit = self.commits.get(commit.parent or "")

    def somebody_commits(self) -> None:
        """What a colleague may do at any moment."""
        main = self.at("main")
        files = main.files | {"notes.md": File.regular(b"from somebody else\n")}
        self.branches["main"] = self.add(main.id, files, "Add notes", "", "somebody").id

    def merge(self, pull: PullRequest, author: str) -> None:
        """Put what the pull request changed on top of main, as one commit."""
        base, head, main = self.commits[pull.base], self.at(f"refs/pr/{pull.num}"), self.at("main")
        changed = {path for path in base.files | head.files if base.files.get(path) != head.files.get(path)}
        for path in changed:
            if main.files.get(path) not in (base.files.get(path), head.files.get(path)):
                raise Refusal(409, f"Conflict in {path}")
        files = {path: file for path, file in main.files.items() if path not in changed}
        files |= {path: file for path, file in head.files.items() if path in changed}
        merged = self.add(main.id, files, f"{pull.title} (#{pull.num})", "", author)
        self.branches["main"] = pull.merged_as = merged.id
        pull.status = "merged"
