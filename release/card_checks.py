"""Is the card of a release the one that its records give? Rendered anew and compared."""

from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from codequarry.common.errors import UserError
from codequarry.common.files import read_json, temporary_folder
from codequarry.model_card.card import Card
from codequarry.model_card.render import render
from codequarry.release.card import CARD, FOLDER, MEASURED, RECORD, card_of, write_eval_results
from codequarry.release.layout import HANDLER, licence_file
from codequarry.release.manifest import contents_sha256
from codequarry.release.trained_run import RunFolder
from codequarry.release.weights import dtype_in_memory, dtype_on_disk


def recorded_card(folder: Path) -> Card:
    """The card of the release in `folder`, from its record; `write_card` wrote README.md from the same.

    Raises UserError for a record that is not as `write_card` writes it, and what `RunFolder.read` raises.
    """
    record = read_json(folder / RECORD)
    names = ("name", "load_as", "version", *MEASURED)
    if not isinstance(record, dict) or record.keys() != {*names, "handler"}:
        raise UserError(f"{RECORD} has other fields than {', '.join(names)} and handler.")
    for name in names:
        kinds = dict | None if name in MEASURED else str
        if not isinstance(record[name], kinds):
            raise UserError(
                f"{RECORD} has {name} {record[name]!r:.60}, of another type than it is written with."
            )
    if record["handler"] is not (folder / HANDLER).is_file():
        raise UserError(
            f"{RECORD} has handler {record['handler']!r}, and {HANDLER} is "
            f"{'there' if (folder / HANDLER).is_file() else 'missing'}."
        )
    card = card_of(
        RunFolder.read(folder),
        load_as=record["load_as"],
        dtype=dtype_on_disk(folder),
        in_memory=dtype_in_memory(folder),
    )
    return replace(card, **{name: record[name] for name in names}, contents=contents_sha256(folder))


def check_card(folder: Path) -> list[str]:
    """One sentence where README.md, `.eval_results` or LICENSE is not what the release's records give.

    Library versions write YAML in different ways, so a card's header is compared as what it says.
    """
    import yaml  # type: ignore[import-untyped]  # comes with huggingface_hub

    with temporary_folder("card") as alone:
        try:
            card = recorded_card(folder)
            rendered = render(card)
            if card.results is not None:
                write_eval_results(alone, card.results)
            expected = _eval_results(alone)
        except UserError as error:
            return [f"The card cannot be rendered: {error}"]
        except Exception as error:  # measurements of any shape, in a template of any expression
            return [
                f"The card cannot be rendered from {RECORD} and training.json ({type(error).__name__}: "
                f"{error})."
            ]
    problems = []
    try:
        written, found = (folder / CARD).read_text(encoding="utf-8"), _eval_results(folder)
        same = _parsed(written) == _parsed(rendered)
    except (OSError, ValueError, yaml.YAMLError) as error:
        return [f"{CARD} or {FOLDER} cannot be read ({type(error).__name__})."]
    if not same:
        problems.append(
            f"{CARD} is not the card that {RECORD} and training.json give, at "
            f"{_first_difference(written, rendered)}: "
            "it or they were edited, or another version of codequarry wrote it. `codequarry card` writes "
            "it anew."
        )
    if found != expected:
        problems.append(f"{FOLDER} does not hold the scores that {RECORD} has.")
    if (folder / "LICENSE").read_bytes() != licence_file().read_bytes():
        problems.append("LICENSE is not the text of the Apache License 2.0 that codequarry comes with.")
    return problems


def _parsed(text: str) -> tuple[Any, str]:
    import yaml

    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def _eval_results(folder: Path) -> dict[str, Any]:
    import yaml

    files = sorted((folder / FOLDER).iterdir()) if (folder / FOLDER).is_dir() else []
    return {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def _first_difference(written: str, rendered: str) -> str:
    lines = zip_longest(written.splitlines(), rendered.splitlines())
    number, (there, _) = next(
        ((n, both) for n, both in enumerate(lines, 1) if both[0] != both[1]), (1, ("", ""))
    )
    return f"line {number} ({there or ''!r:.60})"
