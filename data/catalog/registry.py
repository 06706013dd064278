"""Every data set by name: training sources, evaluation sets, and the licences of their texts."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from codequarry.data.catalog.datasets.code_search_net import read_codesearchnet_real
from codequarry.data.catalog.datasets.code_translation import read_codexglue_java_cs, read_transcoder
from codequarry.data.catalog.datasets.compiler_errors import read_errors
from codequarry.data.catalog.datasets.completion import read_completion_py
from codequarry.data.catalog.datasets.documentation import read_docs_qa, read_documentation
from codequarry.data.catalog.datasets.interviews import read_interviews
from codequarry.data.catalog.datasets.leetcode import read_leetcode, read_leetcode_p2s
from codequarry.data.catalog.datasets.python_problems import (
    read_conala,
    read_ds1000,
    read_human_eval,
    read_mbpp,
    read_mbxp_code2nl,
)
from codequarry.data.catalog.datasets.rosetta import (
    LANGUAGES,
    read_descriptions,
    read_explanations,
    read_rosetta_py_cpp,
    read_translations,
)
from codequarry.data.catalog.datasets.shell import (
    read_cheat_sheets,
    read_commands,
    read_pages,
    read_powershell,
)
from codequarry.data.catalog.datasets.stack_overflow import (
    read_code,
    read_codenn,
    read_conala_pairs,
    read_concode,
    read_nl2bash,
    read_so_codenn,
    read_text,
    read_thirty_seconds,
)
from codequarry.data.catalog.datasets.text_to_sql import read_spider, read_text2sql, read_wikisql
from codequarry.data.catalog.paper_sets import HUB_SOURCES
from codequarry.data.catalog.repositories import MINED_REPOSITORIES
from codequarry.data.catalog.schema import LICENCES, Distribution, EvalSource, Git, Licence, TrainSource

if TYPE_CHECKING:
    pass


def known_licences() -> dict[str, Licence]:
    """The licence of every source that has a row: data sets and mined repositories, by name."""
    sets = {row.name: row.licence for row in (*TRAIN_SOURCES.values(), *HUB_SOURCES.values())}
    repositories = {row.name: row.licence for row in MINED_REPOSITORIES}
    return {name: LICENCES[spdx] for name, spdx in (sets | repositories).items()}


_AZURE = ("MicrosoftDocs/azure-docs-powershell", "94a1a083642e3e1e0cf9b577b22ddbabea03963d")

_CPP = ("MicrosoftDocs/cpp-docs", "a2e592a8fc391b6aff8d1323f5b58696abdc5d57")

_POWERSHELL = ("MicrosoftDocs/PowerShell-Docs", "27138b21b41de3e2b43cfcac4a56861ca419d5eb")

_TEXT2SQL = ("jkkummerfeld/text2sql-data", "5050bad2309a93636ea4788d3660c9202bf11e0e")

_TLDR = Git("tldr-pages/tldr", "08e345f42639f67d99282813247ac670dc6e87cb", ("/pages/**/*.md",))

_ROWS = (
    TrainSource(
        name="wikisql",
        tasks=("nl2code",),
        where=(Git(*_TEXT2SQL, ("/data/wikisql.json.bz2",)),),
        licence="BSD-3-Clause",
        languages=("sql",),
        read=read_wikisql,
        size=55_208,
        note="The training split. WikiSQL, Zhong et al. 2017, by way of text2sql-data, whose SQL has "
        "each column's name where WikiSQL has its number. Differs from our first data, where one "
        "column in eight kept its alias and the lists of columns lacked those with odd names; 983 "
        "questions whose SQL lacks a value are left out.",
    ),
    TrainSource(
        name="text2sql_advising",
        tasks=("nl2code",),
        where=(Git(*_TEXT2SQL, ("/data/advising.json",)),),
        licence="CC-BY-4.0",
        languages=("sql",),
        read=read_text2sql("text2sql_advising"),
        size=2_426,
        note="Advising, Finegan-Dollak et al. 2018. Differs from our first data where a value stood "
        "empty: it takes the example of upstream.",
    ),
    TrainSource(
        name="text2sql_other",
        tasks=("nl2code",),
        where=(
            Git(
                *_TEXT2SQL,
                tuple(
                    f"/data/{name}.json"
                    for name in ("academic", "atis", "geography", "imdb", "restaurants", "scholar", "yelp")
                ),
            ),
        ),
        licence="LicenseRef-unclear",
        languages=("sql",),
        read=read_text2sql("text2sql_other"),
        size=4_325,
        note="Upstream names no licence for these seven sets: not for commercial training.",
    ),
    TrainSource(
        name="tldr",
        tasks=("nl2code",),
        where=(_TLDR,),
        licence="CC-BY-4.0",
        languages=("bash", "powershell/cmd"),
        read=read_commands,
        size=31_891,
        note="The tldr-pages contributors. Every command line of our first data is here; which "
        "descriptions bear the name differs.",
    ),
    TrainSource(
        name="tldr_techqa",
        tasks=("qa",),
        where=(_TLDR,),
        licence="CC-BY-4.0",
        languages=("bash",),
        read=read_pages,
        size=7_421,
        note="The tldr-pages contributors. Every pair of our first data is here, and 410 more.",
    ),
    TrainSource(
        name="nl2bash",
        tasks=("nl2code",),
        where=(
            Git(
                "TellinaTool/nl2bash",
                "466c5fe873ab08c7cc0112ea1521cc6ad9c20992",
                ("/data/bash/all.nl", "/data/bash/all.cm"),
            ),
        ),
        licence="MIT",
        languages=("bash",),
        read=read_nl2bash,
        size=12_607,
        note="NL2Bash, Lin et al. 2018. data/bash is MIT; the rest is GPL-3.0 and not read.",
    ),
    TrainSource(
        name="powershell",
        tasks=("nl2code",),
        where=(
            Git(*_POWERSHELL, ("/reference/5.1/**/*.md", "/reference/7.7/**/*.md")),
            Git(*_AZURE, ("/azps-16.2.0/**/*.md",)),
        ),
        licence="CC-BY-4.0",
        languages=("powershell",),
        read=read_powershell,
        size=16_597,
        note="Microsoft and contributors; the code in it is MIT. Differs from our first data in blocks "
        "that show output behind a prompt.",
    ),
    TrainSource(
        name="cheatsheets",
        tasks=("nl2code",),
        where=(
            Git("chubin/cheat.sheets", "0bcedfb1d218d1218bbc0e9cf809ebca0d367e6d", ("/sheets/**",)),
            Git("cheat/cheatsheets", "36bdb99dcfadde210503d8c2dcf94b34ee950e1d", ("/*", "!/.*")),
        ),
        licence="MIT",
        languages=("bash", "perl", "python", "redis", "ruby", "rust"),
        read=read_cheat_sheets,
        size=5_172,
        note="chubin/cheat.sheets is MIT, cheat/cheatsheets CC0-1.0. All but eight pairs of our first "
        "data, and 238 more.",
    ),
    TrainSource(
        name="concode",
        tasks=("nl2code",),
        where=(
            Git(
                "microsoft/CodeXGLUE",
                "ac74a62802a0dd159b3258c78a2df8ad36cdf2b9",
                ("/Text-Code/text-to-code/dataset/concode/dev.json",),
            ),
        ),
        licence="C-UDA-1.0",
        languages=("java",),
        read=read_concode,
        size=1_879,
        note="CONCODE, Iyer et al. 2018, its development split, as tokens. CodeXGLUE's code is MIT; "
        "its data licence permits computational use, commercial too. Every pair of our first data, and "
        "four more.",
    ),
    TrainSource(
        name="snippets30",
        tasks=("nl2code",),
        where=(
            Git(
                "30-seconds/30-seconds-of-code",
                "c16c7cb135c77fc11c88fe6772a39db34d0d98ad",
                ("/snippets/*.md",),
            ),
        ),
        licence="CC0-1.0",
        languages=("javascript",),
        read=read_thirty_seconds,
        size=536,
        note="As of 2021; later versions are articles, and CC-BY-4.0.",
    ),
    TrainSource(
        name="docs_techqa",
        tasks=("qa",),
        where=(
            Git(*_CPP, ("/docs/**/*.md", "!/docs/error-messages/")),
            Git(*_POWERSHELL, ("/reference/docs-conceptual/**/*.md",)),
            Git(*_AZURE, ("/docs-conceptual/azps-16.2.0/**/*.md", "!release-notes*", "!migrate-az-*")),
            Git(
                "dotnet/EntityFramework.Docs",
                "16e474b58151684c890eb0041ef84f38e59610d3",
                ("/entity-framework/**/*.md",),
            ),
            Git(
                "reactjs/react.dev",
                "12d692da47e77cdc558b928fcfbaf4e71c6d0cec",
                ("/src/content/**/*.md", "!/src/content/blog/"),
            ),
        ),
        licence="CC-BY-4.0",
        languages=("cpp", "csharp", "javascript", "powershell"),
        read=read_documentation("docs_techqa"),
        size=11_056,
        note="Microsoft, Meta and contributors, with attribution; Microsoft's code in it is MIT. "
        "Differs from our first data in markup: includes, alerts and reference links go whole "
        "here.",
    ),
    TrainSource(
        name="errors_techqa",
        tasks=("qa",),
        where=(Git(*_CPP, ("/docs/error-messages/**/*.md", "!/docs/error-messages/includes/")),),
        licence="CC-BY-4.0",
        languages=("cpp",),
        read=read_errors,
        size=2_471,
        note="Microsoft and contributors; the code in it is MIT. Differs from our first data in pages "
        "that only list others, left out here.",
    ),
    TrainSource(
        name="interview_techqa",
        tasks=("qa",),
        where=(
            Git("FAQGURU/FAQGURU", "52f6a1092c388309676d149db379e4c3b7f63771", ("/topics/en/*.md",)),
            Git(
                "sudheerj/reactjs-interview-questions",
                "4c355593498bb1878953b6b7f23c20c02848909e",
                ("/README.md",),
            ),
            Git(
                "trimstray/test-your-sysadmin-skills",
                "d566322e4f6a656fb835bf34712a67db269d5f2d",
                ("/README.md",),
            ),
            Git(
                "lydiahallie/javascript-questions",
                "a8b427b9f7f94f1a2965144ba544b475c5f65829",
                ("/README.md",),
            ),
            Git(
                "yangshun/front-end-interview-handbook",
                "e9a6824b5eee1ae943baf3814cb97879b8372e0a",
                ("/packages/quiz/questions/*/en-US.mdx",),
            ),
        ),
        licence="MIT",
        languages=("angular", "c", "html", "java", "javascript", "linux", "react", "ruby", "sql"),
        read=read_interviews,
        size=2_406,
        note="Five lists of questions. Differs from our first data in indentation; of the handbook the "
        "quiz questions alone are read.",
    ),
    TrainSource(
        name="gfg_code2code",
        tasks=("code2code",),
        where=(
            Git(
                "facebookresearch/CodeGen",
                "e3e8855c4abbd7d19c8fec36b49d7e7fe7479dbf",
                tuple(
                    f"/data/transcoder_evaluation_gfg/{language}/**"
                    for language in ("c", "cpp", "go", "java", "python", "rust")
                ),
            ),
        ),
        licence="MIT",
        languages=("c", "cpp", "go", "java", "python", "rust"),
        read=read_transcoder,
        size=6_144,
        note="TransCoder's evaluation functions, Lachaux et al. 2020, from problems of GeeksforGeeks. "
        "Differs from our first data, where 546 pairs had the same text on both sides; Rust "
        "differs in its types.",
    ),
)

_PROSE_LANGUAGES = ("android", "csharp", "ios", "java", "javascript", "php", "python", "ruby", "sql")

_ROSETTA = ("bgloyer/RosettaCodeData", "88f62ba8313782006d9684f95b4174011802f640")

_ROSETTA_CODE = tuple(f"/Task/*/{folder}/*" for folder in LANGUAGES)

_ROSETTA_LANGUAGES = tuple(sorted(LANGUAGES.values()))

_WIKIOD = Git("wikiod-com/wikiod", "9c05f416f46d3cd6f219611ce64f5dc30f29a298", ("/en/docs/**/*.md",))

SHARE_ALIKE_ROWS = (
    TrainSource(
        name="spider",
        tasks=("nl2code",),
        where=(
            Git(
                "taoyds/spider",
                "b7b5b8c890cd30e35427348bb9eb8c6d1350ca7c",
                ("/evaluation_examples/examples/dev.json",),
            ),
        ),
        licence="CC-BY-SA-4.0",
        languages=("sql",),
        read=read_spider,
        size=1_034,
        note="The development set, Yu et al. 2018. The code beside it is Apache-2.0, the data CC-BY-SA-4.0.",
    ),
    TrainSource(
        name="symfony_techqa",
        tasks=("qa",),
        where=(Git("symfony/symfony-docs", "3e03b46811863dab6aa8d2948c601082688441d1", ("*.rst",)),),
        licence="CC-BY-SA-3.0",
        languages=("php",),
        read=read_documentation("symfony_techqa"),
        size=1_963,
        note="Symfony and contributors. Apart from docs_techqa because its licence is share-alike.",
    ),
    TrainSource(
        name="so_codenn",
        tasks=("nl2code",),
        where=(
            Git(
                "sriniiyer/codenn",
                "0f7fbb8b298a84faf4a14a8f76199e39af685e4a",
                tuple(
                    f"/data/stackoverflow/{language}/{split}.txt"
                    for language in ("csharp", "sql", "python")
                    for split in ("valid", "test")
                ),
            ),
        ),
        licence="CC-BY-SA-3.0",
        languages=("csharp", "python", "sql"),
        read=read_codenn,
        size=23_066,
        note="CodeNN, Iyer et al. 2016; the texts are of Stack Overflow's users. Validation and test "
        "files without what is evaluated on; the training files hold the same in volume. Differs "
        "from our first data where a quote was escaped in the code: it stays so.",
    ),
    TrainSource(
        name="sodocs_nl2code",
        tasks=("nl2code",),
        where=(_WIKIOD,),
        licence="CC-BY-SA-3.0",
        languages=_PROSE_LANGUAGES,
        read=read_code,
        size=9_112,
        note="The archived Stack Overflow Documentation, by its users. Differs from our first data in "
        "which half of the examples is asked for its code.",
    ),
    TrainSource(
        name="sodocs_techqa",
        tasks=("qa",),
        where=(_WIKIOD,),
        licence="CC-BY-SA-3.0",
        languages=_PROSE_LANGUAGES,
        read=read_text,
        size=18_665,
        note="The archived Stack Overflow Documentation, by its users. Differs from our first data in "
        "which examples are not asked for their code, and in links.",
    ),
    TrainSource(
        name="conala",
        tasks=("nl2code",),
        where=(
            Git(
                "shilliscmu/TranxConalaBaseline",
                "5520285387d946e826f4cc5a4a0a1bf7361355e5",
                ("/conala-train.json",),
            ),
        ),
        licence="CC-BY-SA-4.0",
        languages=("python",),
        read=read_conala_pairs,
        size=2_366,
        note="CoNaLa, Yin et al. 2018, its annotated training split; the test split is evaluated on.",
    ),
    TrainSource(
        name="rosetta_nl2code",
        tasks=("nl2code",),
        where=(Git(*_ROSETTA, ("/Task/*/00DESCRIPTION", *_ROSETTA_CODE)),),
        licence="GFDL-1.2-or-later",
        languages=_ROSETTA_LANGUAGES,
        read=read_descriptions,
        size=9_782,
        note="Rosetta Code's contributors, as of 2021, without the tasks evaluated on. Differs from "
        "our first data in the markup of descriptions, and leaves out tasks held out that have no "
        "Python or C++.",
    ),
    TrainSource(
        name="rosetta_code2code",
        tasks=("code2code",),
        where=(Git(*_ROSETTA, _ROSETTA_CODE),),
        licence="GFDL-1.2-or-later",
        languages=_ROSETTA_LANGUAGES,
        read=read_translations,
        size=21_106,
        note="Rosetta Code's contributors, as of 2021, without the tasks evaluated on. Differs from "
        "our first data in which pairs of languages the lot takes.",
    ),
    TrainSource(
        name="rosetta_code2nl",
        tasks=("code2nl",),
        where=(Git(*_ROSETTA, ("/Task/*/00DESCRIPTION", *_ROSETTA_CODE)),),
        licence="GFDL-1.2-or-later",
        languages=_ROSETTA_LANGUAGES,
        read=read_explanations,
        size=1_284,
        note="Rosetta Code's contributors, as of 2021, without the tasks evaluated on. Differs from "
        "our first data in which programs the lot takes.",
    ),
    TrainSource(
        name="leetcode_code2code",
        tasks=("code2code",),
        where=(
            Git("doocs/leetcode", "b6ee4f59f28bcf325b7ec535d0a0e12b409e70f4", ("/solution/*/*/Solution.*",)),
            Git(
                "kamyu104/LeetCode-Solutions",
                "a42318b19416b86d301d01db278172da59490a69",
                ("/Python/*.py", "/C++/*.cpp"),
            ),
        ),
        licence="CC-BY-SA-4.0",
        languages=("c", "cpp", "csharp", "go", "java", "javascript", "php", "python", "rust", "typescript"),
        read=read_leetcode,
        size=24_906,
        note="doocs/leetcode is CC-BY-SA-4.0, kamyu104/LeetCode-Solutions MIT. Solutions only, without "
        "the problems evaluated on. Differs from our first data in which pairs of languages the "
        "lot takes.",
    ),
)

TRAIN_SOURCES: Mapping[str, TrainSource] = MappingProxyType(
    {row.name: row for row in (*_ROWS, *SHARE_ALIKE_ROWS)}
)

_CODEXGLUE = "ac74a62802a0dd159b3258c78a2df8ad36cdf2b9"

_MBXP = ("cpp", "csharp", "java", "javascript", "kotlin", "php", "python", "ruby", "typescript")

_EVAL_ROWS = (
    EvalSource(
        name="humaneval",
        task="nl2code",
        where=(
            Git(
                "openai/human-eval",
                "6d43fb980f9fee3c892a914eda09951f772ad10d",
                ("/data/HumanEval.jsonl.gz",),
            ),
        ),
        licence="MIT",
        languages=("python",),
        read=read_human_eval,
        mirrors="HumanEvalRetrieval",
        faithful="The same problems; MTEB's queries hold the examples too: compare with care.",
        queries=164,
        documents=164,
    ),
    EvalSource(
        name="mbpp",
        task="nl2code",
        where=(
            Git(
                "deepseek-ai/DeepSeek-Coder",
                "2f9fd85927c669dae3c0fbb2d607274023af243e",
                ("/Evaluation/MBPP/data/mbpp.jsonl",),
            ),
        ),
        licence="CC-BY-4.0",
        languages=("python",),
        read=read_mbpp,
        mirrors="MBPPRetrieval",
        faithful=(
            "The same texts: scores may be compared. MTEB keeps all 974 rows apart; here equal texts are "
            "one, so that a twin is no wrong answer."
        ),
        queries=970,
        documents=972,
    ),
    EvalSource(
        name="ds1000",
        task="nl2code",
        where=(
            Git(
                "yassine-turin/ds1000-codegen-eval",
                "1eea362fa5eb7bc862eb6022e53df3a9d391ac2b",
                ("/ds1000_data/data/ds1000.jsonl",),
            ),
        ),
        licence="CC-BY-SA-4.0",
        languages=("python",),
        read=read_ds1000,
        mirrors="DS1000Retrieval",
        faithful="The same problems, but MTEB's documents are longer: do not compare scores.",
        queries=996,
        documents=915,
    ),
    EvalSource(
        name="conala",
        task="nl2code",
        where=(
            Git(
                "shilliscmu/TranxConalaBaseline",
                "5520285387d946e826f4cc5a4a0a1bf7361355e5",
                ("/conala-test.json",),
            ),
        ),
        licence="CC-BY-SA-4.0",
        languages=("python",),
        read=read_conala,
        faithful="Our own retrieval set, from CoNaLa's test split; MTEB has none.",
        queries=472,
        documents=490,
    ),
    EvalSource(
        name="so_codenn",
        task="nl2code",
        where=(
            Git(
                "sriniiyer/codenn",
                "0f7fbb8b298a84faf4a14a8f76199e39af685e4a",
                tuple(f"/data/stackoverflow/{language}/test.txt" for language in ("csharp", "python", "sql")),
            ),
        ),
        licence="CC-BY-SA-3.0",
        languages=("csharp", "sql", "python"),
        read=read_so_codenn,
        mirrors="StackOverflowQA",
        faithful=(
            "Only the kind of question is the same: titles and short, noisy snippets here, whole posts "
            "there. Do not compare scores."
        ),
        queries=1868,
        documents=1868,
    ),
    EvalSource(
        name="leetcode_p2s",
        task="nl2code",
        where=(
            Git(
                "doocs/leetcode",
                "b6ee4f59f28bcf325b7ec535d0a0e12b409e70f4",
                ("/solution/*/*/README_EN.md", "/solution/*/*/Solution.py"),
            ),
        ),
        licence="LicenseRef-LeetCode",
        languages=("python",),
        read=read_leetcode_p2s,
        mirrors="AppsRetrieval",
        faithful="The same shape, long statement to Python solution, other problems: do not compare scores.",
        queries=916,
        documents=3447,
    ),
    EvalSource(
        name="codesearchnet_real",
        task="nl2code",
        where=(
            Git(
                "microsoft/CodeXGLUE",
                _CODEXGLUE,
                ("/Code-Code/ClozeTesting-maxmin/data/cloze-maxmin/*/clozeTest.json",),
            ),
        ),
        licence="LicenseRef-per-repository",
        languages=("python", "java", "php", "javascript", "go", "ruby"),
        read=read_codesearchnet_real,
        mirrors="COIRCodeSearchNetRetrieval",
        faithful=(
            "Genuine CodeSearchNet pairs, but tokenised, all languages in one corpus, and only functions "
            "that call max or min: do not compare scores."
        ),
        queries=2466,
        documents=2615,
    ),
    EvalSource(
        name="rosetta_py_cpp",
        task="code2code",
        where=(
            Git(
                "bgloyer/RosettaCodeData",
                "88f62ba8313782006d9684f95b4174011802f640",
                ("/Task/*/C++/*", "/Task/*/Python/*"),
            ),
        ),
        licence="GFDL-1.2-or-later",
        languages=("python", "cpp"),
        read=read_rosetta_py_cpp,
        mirrors="CodeTransOceanContest",
        faithful="The same shape, Python to C++ of one task, from the same site: do not compare scores.",
        queries=195,
        documents=526,
    ),
    EvalSource(
        name="codexglue_java_cs",
        task="code2code",
        where=(
            Git(
                "microsoft/CodeXGLUE",
                _CODEXGLUE,
                (
                    "/Code-Code/code-to-code-trans/data/test.java-cs.txt.java",
                    "/Code-Code/code-to-code-trans/data/test.java-cs.txt.cs",
                ),
            ),
        ),
        licence="MIT",
        languages=("java", "csharp"),
        read=read_codexglue_java_cs,
        faithful="Our own retrieval set; saturated, so it is a sanity check and left out of means.",
        in_mean=False,
        queries=997,
        documents=995,
    ),
    EvalSource(
        name="mbxp_code2nl",
        task="code2nl",
        where=(
            Git(
                "amazon-science/mxeval",
                "e09974f990eeaf0c0e8f2b5eaff4be66effb2c86",
                ("/data/mbxp/*_release_v*.jsonl",),
            ),
        ),
        licence="Apache-2.0",
        languages=_MBXP,
        read=read_mbxp_code2nl,
        faithful="Our own set; MTEB has no task from code to its description.",
        queries=1999,
        documents=1227,
    ),
    EvalSource(
        name="docs_qa",
        task="qa",
        where=(
            Git(
                "vuejs/docs",
                "01e098a967951ea92d09b100b8e7d82c7a3369a2",
                ("/src/**/*.md", "!releases.md"),
            ),
            Git(
                "MicrosoftDocs/WSL",
                "8842def77a852af26318b9ebec78063a94b068ed",
                ("/WSL/**/*.md", "!*release-notes.md"),
            ),
            Git(
                "microsoft/TypeScript-Website",
                "1f8e642574ce992bfd573a96b5e3de43d8ac044a",
                ("/packages/documentation/copy/en/**/*.md", "!**/release-notes/*.md"),
            ),
            Git("rust-lang/book", "917544888a55e4da7109bdba8c88c893c0da70f4", ("/src/**/*.md",)),
            Git("rust-lang/rust-by-example", "898f0ac1479223d332309e0fce88d44b39927d28", ("/src/**/*.md",)),
        ),
        licence="CC-BY-4.0",
        languages=(),
        read=read_docs_qa,
        faithful="Our own set; MTEB's CodeFeedback tasks hold answers that a model wrote.",
        queries=2069,
        documents=2085,
    ),
    EvalSource(
        name="completion_py",
        task="code2completion",
        where=(
            Distribution(
                "flask", "3.1.3", "0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb"
            ),
            Distribution(
                "httpx", "0.28.1", "75e98c5f16b0f35b567856f597f06ff2270a374470a5c2392242528e3e3e42fc"
            ),
            Distribution(
                "attrs", "26.1.0", "d03ceb89cb322a8fd706d4fb91940737b6642aa36998fe130a9bc96c985eff32"
            ),
            Distribution(
                "networkx", "3.6.1", "26b7c357accc0c8cde558ad486283728b65b6a95d85ee1cd66bafab4c8168509"
            ),
            Distribution(
                "sympy", "1.14.0", "d3d3fe8df1e5a0b42f0e7bdf50541697dbe7d23746e894990c030e2b05e72517"
            ),
        ),
        licence="BSD-3-Clause",
        languages=("python",),
        read=read_completion_py,
        mirrors="CodeSearchNetCCRetrieval",
        faithful=(
            "The same shape, second half by first half, but one language, and the other functions of the "
            "same files are the competitors: do not compare scores."
        ),
        queries=1000,
        documents=4437,
    ),
)

EVAL_SOURCES: Mapping[str, EvalSource] = MappingProxyType({row.name: row for row in _EVAL_ROWS})


def get_eval_source(name: str) -> EvalSource:
    """The row of the evaluation set called `name`.

    Raises ValueError for any other name, with the whole list.
    """
    if name in EVAL_SOURCES:
        return EVAL_SOURCES[name]
    raise ValueError(f"{name!r} is no evaluation set: the sets are {', '.join(EVAL_SOURCES)}.")
