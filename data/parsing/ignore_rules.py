"""The rules of a `.gitignore`, read and matched as git does, in time that no rule and no path can make long.

For folders outside git, and for the patterns of `--include` and `--exclude`. A rule becomes a regular
expression in which every `*` is atomic: it takes the first place where what follows fits and never tries
another. For wildcards that is the same language, and the time is bounded by path times rule.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from codequarry.common.files import read_regular

MAX_BYTES = 500_000  # of a file of rules; those that people write have a few thousand
MAX_WILDCARDS = 1_000  # rules of one file that need a regular expression; each costs a microsecond a path
MAX_RULE = 2_000  # characters
_WILD = re.compile(r"[*?\[\\]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ENDING = re.compile(r"\*(\.[^*?\[\\/]+)")
_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "blank": " \\t", "cntrl": "\\x00-\\x1f\\x7f", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": "!-/:-@\\[-`{-~", "space": "\\t-\\r ",
    "upper": "A-Z", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_NOTHING = "(?!)"


class _Invalid(Exception):
    """A rule that can match nothing, such as one with an open bracket."""


@dataclass(frozen=True, slots=True)
class _Wildcard:
    number: int
    folders_only: bool
    whole_path: bool
    expression: re.Pattern[str]


@dataclass(slots=True)
class Rules:
    """The rules of one file; the last one that matches decides.

    left_out: how many rules were not taken because there are too many or they are too long.
    """

    left_out: int = 0
    _takes_out: list[bool] = field(default_factory=list)
    # Most rules are names or endings: by text the last such rule, for files and for folders.
    _names: dict[str, tuple[int, int]] = field(default_factory=dict)
    _endings: dict[str, tuple[int, int]] = field(default_factory=dict)
    _wildcards: list[_Wildcard] = field(default_factory=list)

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> "Rules":
        """The rules in these lines; comments, blank lines and what cannot match anything are passed over."""
        rules = cls()
        for line in lines:
            rules._add(line)
        return rules

    @classmethod
    def from_file(cls, path: Path) -> "Rules":
        """The rules in a file, none where there is no regular file: git does not follow a link to rules.

        Raises OSError where it cannot be read.
        """
        data = read_regular(path, MAX_BYTES)
        text = data[:MAX_BYTES].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        rules = cls.from_lines(line.removesuffix("\r") for line in text.split("\n"))
        rules.left_out += len(data) > MAX_BYTES
        return rules

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """True where the last rule for a path takes it out, False where that takes it back, None without one.

        path: relative to the folder of the rules. The folders above it are not looked at.
        """
        path = _as_bytes(path)
        name = path.rpartition("/")[2]
        best = _number(self._names, name, is_folder)
        if self._endings:
            dot = name.find(".")
            while dot >= 0:
                best = max(best, _number(self._endings, name[dot:], is_folder))
                dot = name.find(".", dot + 1)
        for rule in reversed(self._wildcards):
            if rule.number < best:
                break
            if rule.folders_only and not is_folder:
                continue
            if rule.expression.fullmatch(path if rule.whole_path else name):
                best = rule.number
                break
        return self._takes_out[best] if best >= 0 else None

    def covers(self, path: str, is_folder: bool = False) -> bool:
        """Whether a path, or a folder above it, is taken out."""
        if not self._takes_out:
            return False
        end = path.find("/")
        while end >= 0:
            if self.verdict(path[:end], True):
                return True
            end = path.find("/", end + 1)
        return bool(self.verdict(path, is_folder))

    def _add(self, line: str) -> None:
        rule = _as_bytes(_without_trailing_blanks(line))
        if not rule or rule.startswith("#"):
            return
        takes_out = not rule.startswith("!")
        rule = rule if takes_out else rule[1:]
        folders_only = rule.endswith("/")
        rule = rule[:-1] if folders_only else rule
        rule = _ESCAPED.sub(lambda pair: "/" if pair[1] == "/" else pair[0], rule)
        if len(rule) > MAX_RULE:
            self.left_out += 1
            return
        number = len(self._takes_out)
        if "/" not in rule and not _WILD.search(rule):
            _remember(self._names, rule, number, folders_only)
        elif ending := _ENDING.fullmatch(rule):
            _remember(self._endings, ending[1], number, folders_only)
        elif len(self._wildcards) == MAX_WILDCARDS:
            self.left_out += 1
            return
        else:
            try:
                expression = re.compile(_expression(rule.removeprefix("/")), re.DOTALL)
            except _Invalid:
                return
            self._wildcards.append(_Wildcard(number, folders_only, "/" in rule, expression))
        self._takes_out.append(takes_out)


def _as_bytes(text: str) -> str:
    """A character for each byte, as git compares: a `?` is half of an `é`."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _number(rules: dict[str, tuple[int, int]], text: str, is_folder: bool) -> int:
    for_all, for_folders = rules.get(text, (-1, -1))
    return max(for_all, for_folders) if is_folder else for_all


def _remember(rules: dict[str, tuple[int, int]], text: str, number: int, folders_only: bool) -> None:
    for_all, for_folders = rules.get(text, (-1, -1))
    rules[text] = (for_all, number) if folders_only else (number, for_folders)


def _without_trailing_blanks(line: str) -> str:
    bare = line.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return line[: len(bare) + 1] if backslashes % 2 and len(bare) < len(line) else bare


def _expression(rule: str) -> str:
    """The regular expression of a rule without the slashes at its ends.

    git takes off what comes before the first wildcard: `**` after it counts as after a slash (`a**/b`).
    """
    wild = _WILD.search(rule)
    start = wild.start() if wild else len(rule)
    return re.escape(rule[:start]) + _wild_expression(rule[start:])


def _wild_expression(rule: str) -> str:
    runs: list[list[str]] = [[]]  # of segments, with `**` between them
    any_depth = False
    for segment in _segments(rule):
        if segment is None:
            any_depth = True
            if runs[-1] or len(runs) == 1:
                runs.append([])
        else:
            runs[-1].append(segment)
    first, *others = ["/".join(run) for run in runs]
    if not any_depth:
        return first
    found = first
    for run in others[:-1]:
        found += f"{'/' * bool(found)}(?>(?:[^/]*/)*?{run}(?=/))"
    last = f"(?:[^/]*/)*{others[-1]}" if others[-1] else ".*"
    return f"{found}{'/' * bool(found)}{last}"


def _segments(rule: str) -> Iterable[str | None]:
    """The expression of each part between slashes, None for `**`."""
    pieces: list[list[str]] = [[]]  # of one segment, with `*` between them
    at = 0
    while at < len(rule):
        letter = rule[at]
        if letter == "*":
            end = at
            while end < len(rule) and rule[end] == "*":
                end += 1
            alone = (at == 0 or rule[at - 1] == "/") and (end == len(rule) or rule[end] == "/")
            if end - at > 1 and alone:
                yield None
                at = end + 1
                if at > len(rule):
                    return
                continue
            pieces.append([])
            at = end
            continue
        if letter == "[":
            expression, at = _bracket(rule, at + 1)
            pieces[-1].append(expression)
            continue
        if letter == "/":
            yield _segment(pieces)
            pieces = [[]]
        elif letter == "?":
            pieces[-1].append("[^/]")
        elif letter == "\\":
            at += 1
            if at == len(rule):
                raise _Invalid
            pieces[-1].append(re.escape(rule[at]))
        else:
            pieces[-1].append(re.escape(letter))
        at += 1
    yield _segment(pieces)


def _segment(pieces: list[list[str]]) -> str:
    first, *others = ["".join(piece) for piece in pieces]
    if not others:
        return first
    middle = "".join(f"(?>[^/]*?{piece})" for piece in others[:-1] if piece)
    return f"{first}{middle}[^/]*{others[-1]}(?![^/])"


def _bracket(rule: str, at: int) -> tuple[str, int]:
    """The expression of a bracket whose first character is at `at`, and where the rule goes on."""
    negated = rule[at : at + 1] in ("!", "^") and bool(rule[at : at + 1])
    at += negated
    members: list[str] = []
    before = ""  # the character a range may begin with
    start = at
    while True:
        letter = rule[at : at + 1]
        if not letter:
            raise _Invalid
        if letter == "]" and at > start:
            break
        if rule.startswith("[:", at):
            end = rule.find("]", at + 2)
            if end < 0:
                raise _Invalid
            if end > at + 2 and rule[end - 1] == ":":
                name = rule[at + 2 : end - 1]
                if name not in _POSIX:
                    raise _Invalid
                members.append(_POSIX[name])
                before, at = "", end + 1
                continue
        if letter == "-" and before and rule[at + 1 : at + 2] not in ("", "]"):
            at += 1
            if rule[at] == "\\":
                at += 1
                if at == len(rule):
                    raise _Invalid
            if before <= rule[at]:
                members.append(f"{re.escape(before)}-{re.escape(rule[at])}")
            before, at = "", at + 1
            continue
        if letter == "\\":
            at += 1
            letter = rule[at : at + 1]
            if not letter:
                raise _Invalid
        members.append(re.escape(letter))
        before, at = letter, at + 1
    inside = "".join(members)
    if not inside:
        return ("[^/]" if negated else _NOTHING), at + 1
    return f"(?!/)[{'^' * negated}{inside}]", at + 1
