"""The sources of training pairs: one typed row each, with places, licence, reader and what differs."""

from collections.abc import Mapping
from types import MappingProxyType

from codequarry.data.sources.schema import Git, TrainSource
from codequarry.data.sources.share_alike_rows import SHARE_ALIKE_ROWS
from codequarry.data.sources.train_readers.cheat_sheets import read_cheat_sheets
from codequarry.data.sources.train_readers.compiler_errors import read_errors
from codequarry.data.sources.train_readers.documentation import read_documentation
from codequarry.data.sources.train_readers.intents_and_snippets import (
    read_concode,
    read_nl2bash,
    read_thirty_seconds,
)
from codequarry.data.sources.train_readers.interview_questions import read_interviews
from codequarry.data.sources.train_readers.powershell_examples import read_powershell
from codequarry.data.sources.train_readers.text_to_sql import read_text2sql, read_wikisql
from codequarry.data.sources.train_readers.tldr_pages import read_commands, read_pages
from codequarry.data.sources.train_readers.transcoder_functions import read_transcoder

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

TRAIN_SOURCES: Mapping[str, TrainSource] = MappingProxyType(
    {row.name: row for row in (*_ROWS, *SHARE_ALIKE_ROWS)}
)
