"""Which of our five tasks a benchmark task is: the one table from which its prompts are taken.

MTEB knows prompts by its own task names only, so a model with five pairs of prompts has to be told. The
tasks of MTEB(Code, v1), and those further ones that the jina paper scores, are put where that paper puts
them (arXiv 2508.21290, its table of results).
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["official", "further", "local"]


@dataclass(frozen=True)
class BenchmarkTask:
    """One set that a model can be scored on.

    name: as MTEB, or the folder of a local set, spells it.
    task: one of the five of `codequarry.modules.tasks`.
    kind: `official` is one of the twelve of MTEB(Code, v1), `further` is in mteb beside them, `local` is
        built by `codequarry data build eval`.
    in_mean: False for a set on which every model scores so high that it only dilutes a mean.
    """

    name: str
    task: str
    kind: Kind
    in_mean: bool = True


_ROWS = (
    BenchmarkTask("AppsRetrieval", "nl2code", "official"),
    BenchmarkTask("CodeEditSearchRetrieval", "nl2code", "official"),
    BenchmarkTask("CodeFeedbackMT", "qa", "official"),
    BenchmarkTask("CodeFeedbackST", "qa", "official"),
    BenchmarkTask("CodeSearchNetCCRetrieval", "code2completion", "official"),
    BenchmarkTask("CodeSearchNetRetrieval", "nl2code", "official"),
    BenchmarkTask("CodeTransOceanContest", "code2code", "official"),
    BenchmarkTask("CodeTransOceanDL", "code2code", "official"),
    BenchmarkTask("CosQA", "nl2code", "official"),
    BenchmarkTask("COIRCodeSearchNetRetrieval", "code2nl", "official"),
    BenchmarkTask("StackOverflowQA", "qa", "official"),
    BenchmarkTask("SyntheticText2SQL", "nl2code", "official"),
    BenchmarkTask("MBPPRetrieval", "nl2code", "further"),
    BenchmarkTask("HumanEvalRetrieval", "nl2code", "further"),
    BenchmarkTask("WikiSQLRetrieval", "nl2code", "further"),
    BenchmarkTask("DS1000Retrieval", "qa", "further"),
    BenchmarkTask("FreshStackRetrieval", "qa", "further"),
    BenchmarkTask("SWEbenchCodeRetrieval", "nl2code", "further"),
    BenchmarkTask("SWEbenchLiteRR", "nl2code", "further"),
    BenchmarkTask("SWEbenchVerifiedRR", "nl2code", "further"),
    BenchmarkTask("SWEbenchMultilingualRR", "nl2code", "further"),
    BenchmarkTask("MultiSWEbenchRR", "nl2code", "further"),
    BenchmarkTask("SWEPolyBenchRR", "nl2code", "further"),
    BenchmarkTask("LocBenchRR", "nl2code", "further"),
    BenchmarkTask("CorebT2CRetrieval", "nl2code", "further"),
    BenchmarkTask("CorebC2CRetrieval", "code2code", "further"),
    BenchmarkTask("CorebC2TRetrieval", "code2nl", "further"),
    BenchmarkTask("CodeRAGProgrammingSolutions", "nl2code", "further"),
    BenchmarkTask("CodeRAGLibraryDocumentationSolutions", "qa", "further"),
    BenchmarkTask("CodeRAGOnlineTutorials", "qa", "further"),
    BenchmarkTask("CodeRAGStackoverflowPosts", "qa", "further"),
    BenchmarkTask("humaneval", "nl2code", "local"),
    BenchmarkTask("mbpp", "nl2code", "local"),
    BenchmarkTask("ds1000", "nl2code", "local"),
    BenchmarkTask("conala", "nl2code", "local"),
    BenchmarkTask("so_codenn", "nl2code", "local"),
    BenchmarkTask("leetcode_p2s", "nl2code", "local"),
    BenchmarkTask("codesearchnet_real", "nl2code", "local"),
    BenchmarkTask("rosetta_py_cpp", "code2code", "local"),
    BenchmarkTask("codexglue_java_cs", "code2code", "local", in_mean=False),
    BenchmarkTask("mbxp_code2nl", "code2nl", "local"),
    BenchmarkTask("docs_qa", "qa", "local"),
    BenchmarkTask("completion_py", "code2completion", "local"),
)

BENCHMARK_TASKS: Mapping[str, BenchmarkTask] = MappingProxyType({row.name: row for row in _ROWS})


def benchmark_task(name: str) -> BenchmarkTask:
    """The row of a benchmark task.

    Raises ValueError for a name that is not in the table, with the nearest that is.

    >>> benchmark_task("CosQA").task
    'nl2code'
    """
    if name in BENCHMARK_TASKS:
        return BENCHMARK_TASKS[name]
    near = difflib.get_close_matches(name, BENCHMARK_TASKS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"{name!r} is not in the table of benchmark tasks: {hint}Without its row nobody knows which of the "
        "five tasks' prompts it takes; pass task=… to name one."
    )


def counts_in_mean(name: str) -> bool:
    """Whether a set counts in means: all do but the saturated one."""
    return name not in BENCHMARK_TASKS or BENCHMARK_TASKS[name].in_mean
