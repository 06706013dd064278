"""The sources of training pairs whose licence is share-alike: one typed row each, as in `train_rows.py`.

They permit commercial use. A model trained on them names them in its card, and `licences="permissive"`
leaves them out.
"""

from codequarry.data.sources.schema import Git, TrainSource
from codequarry.data.sources.train_readers.documentation import read_documentation
from codequarry.data.sources.train_readers.intents_and_snippets import read_codenn, read_conala
from codequarry.data.sources.train_readers.leetcode_solutions import read_leetcode
from codequarry.data.sources.train_readers.rosetta_code import (
    LANGUAGES,
    read_descriptions,
    read_explanations,
    read_translations,
)
from codequarry.data.sources.train_readers.stack_overflow_documentation import read_code, read_text
from codequarry.data.sources.train_readers.text_to_sql import read_spider

_ROSETTA = ("bgloyer/RosettaCodeData", "88f62ba8313782006d9684f95b4174011802f640")
_WIKIOD = Git("wikiod-com/wikiod", "9c05f416f46d3cd6f219611ce64f5dc30f29a298", ("/en/docs/**/*.md",))
_ROSETTA_CODE = tuple(f"/Task/*/{folder}/*" for folder in LANGUAGES)
_ROSETTA_LANGUAGES = tuple(sorted(LANGUAGES.values()))
_PROSE_LANGUAGES = ("android", "csharp", "ios", "java", "javascript", "php", "python", "ruby", "sql")

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
        read=read_conala,
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
