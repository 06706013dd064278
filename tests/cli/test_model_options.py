"""The options that commands share offer what `codequarry.load` takes."""

import argparse
from typing import get_args

from codequarry.cli.model_options import RUNTIMES, add_runtime_option
from codequarry.inference.load import RuntimeName


def test_every_runtime_of_load_is_offered_and_packed_is_the_default() -> None:
    assert get_args(RuntimeName) == RUNTIMES
    parser = argparse.ArgumentParser()
    add_runtime_option(parser)
    assert parser.parse_args([]).runtime == "packed"
