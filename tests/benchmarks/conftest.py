"""A small evaluation set of real code: functions of the standard library and the first line of their docs."""

import ast
import inspect
import shutil
import statistics
import tempfile
import textwrap

import pytest

from codequarry.benchmarks.models import BenchmarkModel, load_model
from codequarry.data.eval_set import EvalSet
from codequarry.data.pair import Pair

MODULES = (textwrap, tempfile, shutil, statistics)
SIZE = 48


@pytest.fixture(scope="session")
def functions() -> EvalSet:
    """Forty-eight functions; language is the module's name, so that there are four."""
    queries, documents, relevant, languages = {}, {}, {}, {}
    for module in MODULES:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.FunctionDef) or len(queries) == SIZE:
                continue
            text = ast.get_docstring(node)
            if text is None:
                continue
            node.body = node.body[1:] or [ast.Pass()]
            query, document = f"q{len(queries)}", f"d{len(documents)}"
            queries[query] = text.splitlines()[0]
            documents[document] = ast.unparse(node)[:250]
            relevant[query] = {document: 1}
            languages[query] = module.__name__
    assert len(queries) == SIZE
    return EvalSet("functions", "nl2code", queries, documents, relevant, languages)


@pytest.fixture(scope="session")
def prompted() -> BenchmarkModel:
    """A model with the prompts of our five tasks: the one that comes with the package."""
    return load_model("mini")


SMALL = (
    "backbone.shape.hidden_size=64", "backbone.shape.layers=2", "backbone.shape.heads=8",
    "backbone.shape.kv_heads=2", "backbone.shape.intermediate_size=128", "backbone.shape.vocabulary=600",
    "matryoshka_dims=[64, 16]", "max_length=128", "batch_size=8",
    "validation=none",
)  # fmt: skip


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Settings that make any recipe with a shape small."""
    return SMALL


@pytest.fixture(scope="session")
def some_pairs() -> list[Pair]:
    """Two sources of two tasks, their texts of many lengths; a third that fills no batch."""
    found = []
    for source, task, count in (("a", "nl2code", 120), ("b", "code2nl", 60), ("few", "qa", 5)):
        for number in range(count):
            query = f"{source} sort number {number} " * (1 + number % 5)
            document = f"def {source}_{number}(x): return x + {number}\n" * (1 + number % 9)
            found.append(Pair(task, query, document, source, "python", (f"wrong {number}",)))
    return found
