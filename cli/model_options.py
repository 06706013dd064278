"""The options of every command that computes vectors with a model."""

import argparse

RUNTIMES = ("packed", "int8", "stock", "onnx", "openvino")


def add_runtime_option(parser: argparse.ArgumentParser) -> None:
    """`--runtime`, as in `codequarry.load`."""
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default=RUNTIMES[0],
        help="what computes vectors: packed, this package's own; int8, the same in 8-bit integers, faster "
        "and near the same vectors, where the processor has VNNI or AMX; stock, sentence-transformers; or, "
        "on the model's ONNX graph, onnx (ONNX Runtime) or openvino (default: %(default)s)",
    )
