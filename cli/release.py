"""The verbs `codequarry release build`, `adapter`, `verify` and `publish`, and `codequarry card`."""

import argparse
import sys
from functools import partial
from pathlib import Path

from codequarry.common.files import write_json

BUILD_EXAMPLE = "codequarry release build runs/own --out releases/own --results results/runs__own.json"
ADAPTER_EXAMPLE = "codequarry release adapter runs/0.5b --out releases/0.5b-lora"
VERIFY_EXAMPLE = (
    "codequarry release verify releases/own --python other-env/bin/python --out verification.json"
)
VERIFY_MORE = """\
Every runtime that is installed reads the release in a process of its own: sentence-transformers,
transformers, and ONNX Runtime and OpenVINO where it was built with --onnx. ORG/NAME@REVISION is
downloaded into an empty cache first. Exits with 1 and names what is wrong, if anything is.
"""
CARD_EXAMPLE = (
    "codequarry card releases/own --results results/runs__own.json --verification verification.json"
)
CARD_MORE = (
    'What is not given reads "not measured". Only README.md, .eval_results and manifest.json change.\n'
)
PUBLISH_EXAMPLE = "codequarry release publish releases/own --repo ORG/NAME --tag v0.1.0"
PUBLISH_MORE = """\
Without --really it shows what would be sent. With it: one commit on a pull request, checksums, a
download into an empty cache, `verify` on it, the merge, a look at main, and then the tag. Whatever
stops it, the same command resumes. A tag that is there is never moved. A Hub that sends nothing for
five minutes is given up.

The download takes the room of the release among the temporary files (TMPDIR), for a while.
The token is huggingface_hub's own (`hf auth login` or HF_TOKEN). It has to be allowed to write to the
repository's contents and settings, and to open pull requests.
"""


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `release build`."""
    add = parser.add_argument
    add("run", type=Path, help="the folder that training left, or 0.5b")
    add("--out", type=Path, required=True, help="the release folder")
    add(
        "--dtype",
        choices=["fp32", "bf16", "fp16"],
        help="of the weights on disk (default: as release/models.toml defines the recipe's model, else fp32; "
        "static models are released in fp16 alone)",
    )
    add(
        "--in-memory",
        choices=["fp32", "bf16"],
        help="of the weights once loaded, unless the reader says otherwise (default: as defined, or on disk)",
    )
    add(
        "--largest-shard",
        type=float,
        metavar="GB",
        help="of a file of weights, at most; larger weights become several files (default: as defined, or 5)",
    )
    add(
        "--onnx",
        choices=["fp32", "int8"],
        nargs="+",
        default=[],
        help="export the whole model to onnx/ as well, in these precisions",
    )
    add(
        "--gguf",
        choices=["f16", "q8_0", "q4_k_m"],
        nargs="+",
        default=[],
        help="write a decoder for llama.cpp as well, in these types, to a folder of its own: OUT-GGUF",
    )
    _add_card_sources(parser)
    add("--replace", action="store_true", help="replace a release that is there")


def run_build(arguments: argparse.Namespace) -> None:
    """Build, and name the next command."""
    from codequarry.common.files import refuse_existing
    from codequarry.release.build import build
    from codequarry.release.gguf import export_gguf, refuse_missing_gguf, refuse_unwritable
    from codequarry.release.manifest import MANIFEST

    refuse_missing_gguf(arguments.gguf)
    arguments.run = _run_of(arguments.run)
    gguf = arguments.out.with_name(f"{arguments.out.name}-GGUF")
    if arguments.gguf and (arguments.run / "config.json").is_file():  # `build` refuses what is no run
        refuse_unwritable(arguments.run)
        refuse_existing(gguf, replace=arguments.replace, mark=MANIFEST)
    build(
        arguments.run,
        arguments.out,
        dtype=arguments.dtype,
        in_memory=arguments.in_memory,
        largest_shard=None if arguments.largest_shard is None else round(arguments.largest_shard * 1e9),
        onnx=arguments.onnx,
        results=arguments.results,
        decontamination=arguments.decontamination,
        replace=arguments.replace,
    )
    _print_pin(arguments.out)
    print(f"built {arguments.out}; next: codequarry release verify {arguments.out}")
    if arguments.gguf:
        print("build: GGUF, " + " and ".join(arguments.gguf), file=sys.stderr)
        export_gguf(arguments.out, gguf, arguments.gguf, replace=arguments.replace, progress=True)
        _print_pin(gguf)
        print(f"built {gguf}; next: codequarry release verify {gguf}")


def _run_of(run: Path) -> Path:
    """The folder of a run; for the name of an adapter that comes with the package, the merged model's."""
    from codequarry.inference.merged_adapter import merged_folder
    from codequarry.modules.backbone import ADAPTERS

    name = str(run)
    return merged_folder(name, ADAPTERS[name]) if name in ADAPTERS and not run.exists() else run


def add_adapter_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `release adapter`."""
    add = parser.add_argument
    add("run", type=Path, help="the folder that training with a [lora] table left, or 0.5b")
    add("--out", type=Path, required=True, help="the adapter's folder")
    add(
        "--with-modules",
        action="store_true",
        help="with tokenizer and pooling, for sentence-transformers with peft (11 MB more for Qwen2.5)",
    )
    add("--load-as", metavar="NAME", help="what users pass to codequarry.load (default: the folder)")
    _add_card_sources(parser)


def run_adapter(arguments: argparse.Namespace) -> None:
    """Pack the adapter, and print how it is loaded."""
    from codequarry.modules.backbone import ADAPTERS
    from codequarry.release.build import pack_adapter

    load_as = arguments.load_as or str(arguments.out)
    pack_adapter(
        _run_of(arguments.run),
        arguments.out,
        load_as=load_as,
        adapter=None if arguments.run.exists() else ADAPTERS.get(str(arguments.run)),
        with_modules=arguments.with_modules,
        results=arguments.results,
        decontamination=arguments.decontamination,
    )
    print(f"packed {arguments.out}; codequarry.load({load_as!r}) reads it where its backbone is.")


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `release verify`."""
    add = parser.add_argument
    add("release", metavar="DIR|ORG/NAME@REVISION", help="a release folder, or one on the Hub at a revision")
    _add_pythons(parser)
    add(
        "--expect",
        metavar="SHA256",
        help="of manifest.json, as `release build` and `publish` printed it, or the one that its card shows",
    )
    add("--out", type=Path, metavar="FILE", help="write what was found, for `codequarry card`")


def run_verify(arguments: argparse.Namespace) -> None:
    """Verify and print the table; exit with 1 if anything is wrong."""
    from codequarry.release.hub import local_copy
    from codequarry.release.verify import verify

    with local_copy(arguments.release) as folder:
        verification = verify(folder, pythons=arguments.pythons, expect=arguments.expect)
        if arguments.out is not None and verification.runtimes:
            words = [f"--python {Path(*python.parts[-3:])}" for python in arguments.pythons]
            command = " ".join(["codequarry release verify", Path(arguments.release).name, *words])
            write_json(arguments.out, verification.record(command))
    print(verification.table())
    if not verification.ok:
        sys.exit(1)


def add_card_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `card`."""
    add = parser.add_argument
    add("release", type=Path, help="the release folder")
    add("--load-as", metavar="ORG/NAME", help="what users pass to SentenceTransformer (default: the folder)")
    _add_card_sources(parser)
    add("--verification", type=Path, metavar="FILE", help="what `codequarry release verify --out` wrote")


def run_card(arguments: argparse.Namespace) -> None:
    """Write the card again."""
    from codequarry.release.card import CARD, renew_card

    renew_card(
        arguments.release,
        load_as=arguments.load_as,
        results=arguments.results,
        decontamination=arguments.decontamination,
        verification=arguments.verification,
    )
    print(f"{arguments.release / CARD} is written.")
    _print_pin(arguments.release)


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `release publish`."""
    add = parser.add_argument
    add("folder", type=Path, help="the release folder")
    add("--repo", required=True, metavar="ORG/NAME", help="the repository, made if need be")
    add("--tag", required=True, metavar="TAG", help="its name there, such as v0.1.0")
    add("--really", action="store_true", help="do it (default: show what would be done)")
    add("--delete-stale", action="store_true", help="delete files there that this release does not have")
    _add_pythons(parser)


def run_publish(arguments: argparse.Namespace) -> None:
    """Publish or plan, and print the result."""
    from codequarry.release.publish import publish
    from codequarry.release.verify import verify

    done = publish(
        arguments.folder,
        arguments.repo,
        tag=arguments.tag,
        really=arguments.really,
        delete_stale=arguments.delete_stale,
        verify=partial(verify, pythons=arguments.pythons),
    )
    if done.state == "already published":
        print(f"{done.repo_id} has this release as {done.tag} already: nothing to do.")
        _print_sha256(done.manifest)
        return
    print(f"{done.repo_id}, to be {done.tag}:" if done.state == "planned" else f"{done.repo_id}:")
    print(done.plan.table())
    if done.verification is not None:
        print(done.verification.table())
    if done.state == "published":
        print(f'published as {done.tag}: SentenceTransformer("{done.repo_id}", revision="{done.tag}")')
        print(f'pinned: SentenceTransformer("{done.repo_id}", revision="{done.commit}")')
        _print_sha256(done.manifest)
    else:
        stale = " Stale files are refused without --delete-stale." if done.plan.stale else ""
        print(f"Nothing was sent: this was a dry run.{stale} Add --really to publish.")


def _print_pin(folder: Path) -> None:
    """Print the number that `verify --expect` takes, to be published where a release's files are not."""
    from codequarry.release.manifest import manifest_sha256

    _print_sha256(manifest_sha256(folder))


def _print_sha256(sha256: str | None) -> None:
    if sha256 is not None:
        print(f"manifest.json has sha256 {sha256}: give it to users for verify --expect")


def _add_card_sources(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--results", type=Path, metavar="FILE", help="what `codequarry benchmark --out` wrote, for the card")
    add(
        "--decontamination",
        type=Path,
        metavar="FILE",
        help="the report of `codequarry data clean` on the training data, for the card",
    )


def _add_pythons(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--python",
        dest="pythons",
        type=Path,
        action="append",
        default=[],
        metavar="PYTHON",
        help="also with this Python's runtimes, e.g. an older sentence-transformers; may be given again",
    )
