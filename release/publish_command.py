"""The verb `codequarry release publish`: its arguments and its printing."""

import argparse
from functools import partial
from pathlib import Path

from codequarry.release.command import add_pythons

EXAMPLE = "codequarry release publish releases/own --repo ORG/NAME --tag v0.1.0"
MORE = (
    "Without --really it shows what would be sent. With it: one commit on a pull request, checksums, a\n"
    "download into an empty cache, `verify` on it, the merge, a look at main, and then the tag. Whatever\n"
    "stops it, the same command goes on. A tag that is there is never moved. A Hub that says nothing for\n"
    "five minutes is given up.\n\n"
    "The download takes the room of the release among the temporary files (TMPDIR), for a while.\n"
    "The token is huggingface_hub's own (`hf auth login` or HF_TOKEN). It has to be allowed to write to the\n"
    "repository's contents and settings, and to open pull requests.\n"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser what publishing needs."""
    parser.add_argument("folder", type=Path, help="the release folder")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="the repository, made if need be")
    parser.add_argument("--tag", required=True, metavar="TAG", help="its name there, such as v0.1.0")
    parser.add_argument("--really", action="store_true", help="do it (default: show what would be done)")
    parser.add_argument(
        "--delete-stale", action="store_true", help="delete files there that this release does not have"
    )
    add_pythons(parser)


def run(arguments: argparse.Namespace) -> None:
    """Publish or plan, and print what came of it."""
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
        return
    print(f"{done.repo_id}, to be {done.tag}:" if done.state == "planned" else f"{done.repo_id}:")
    print(done.plan.table())
    if done.verification is not None:
        print(done.verification.table())
    if done.state == "published":
        print(f'published as {done.tag}: SentenceTransformer("{done.repo_id}", revision="{done.tag}")')
    else:
        stale = " Stale files are refused without --delete-stale." if done.plan.stale else ""
        print(f"Nothing was sent: this was a dry run.{stale} Add --really to publish.")
