"""The options of every command that computes vectors with a model."""

import argparse

RUNTIMES = ("packed", "stock", "onnx", "openvino")


def add_runtime_option(parser: argparse.ArgumentParser) -> None:
    """`--runtime`, as in `codequarry.load`."""
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default=RUNTIMES[0],
        help="what computes vectors: packed, this package's own; stock, sentence-transformers; or, on the "
        "model's ONNX graph, onnx (ONNX Runtime) or openvino (default: %(default)s)",
    )
