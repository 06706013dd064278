"""The 33 training sets of jina-code-embeddings (arXiv 2508.21290, Tables 3-4), and what stands for each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from codequarry.data.catalog.fetch import mteb_retrieval
from codequarry.data.catalog.schema import Hub, Records, TrainSource
from codequarry.data.pair import Pair

_UNKNOWN = "LicenseRef-unclear"
_MODEL_MADE = "LicenseRef-model-made"
_PER_REPOSITORY = "LicenseRef-per-repository"
_CODE_SEARCH_NET = ("go", "java", "javascript", "php", "python", "ruby")


@dataclass(frozen=True)
class PaperSet:
    """One of the paper's training sets.

    name: as the paper spells it.
    task: of our five, the one the paper trains it for.
    where: its places on the Hub; () where none is known to be the same.
    licence: SPDX identifier, a key of `LICENCES`; LicenseRef-unclear may not be trained on by default.
    synthetic: whether a language model wrote the texts.
    replaced_by: names of our own rows that teach the same; () where none does.
    read: how records become pairs; None where this package has no reader.
    """

    name: str
    task: str
    where: tuple[Hub, ...]
    licence: str
    synthetic: bool = False
    replaced_by: tuple[str, ...] = ()
    note: str = ""
    read: Callable[[Records], Iterator[Pair]] | None = None


def _coir(dataset: str, revision: str | None, languages: tuple[str, ...] = ()) -> tuple[Hub, ...]:
    """The places of a set of CoIR: texts first, then the judgements of its training split."""
    fronts = [f"{language}-" for language in languages] or [""]
    places: list[Hub] = []
    for front in fronts:
        places += [
            Hub(dataset, "corpus", f"{front}corpus", revision),
            Hub(dataset, "queries", f"{front}queries", revision),
            Hub(dataset, "train", f"{front}qrels" if front else "default", revision),
        ]
    return tuple(places)


# Revisions are those that mteb's registry names for the evaluation task of the same data set.
_ROWS = (
    # The training splits of MTEB(Code).
    PaperSet(
        "AppsRetrieval",
        "nl2code",
        _coir("CoIR-Retrieval/apps", "f22508f96b7a36c2415181ed8bb76f76e04ae2d5"),
        "MIT",
        replaced_by=("leetcode_code2code",),
        note="Problems scraped from contest sites by APPS, whose repository is MIT. Ours has solutions only.",
        read=mteb_retrieval("nl2code", "AppsRetrieval", "python"),
    ),
    PaperSet(
        "CodeFeedbackMT",
        "qa",
        _coir("CoIR-Retrieval/codefeedback-mt", "b0f12fa0c0dd67f59c95a5c33d02aeeb4c398c5f"),
        _MODEL_MADE,
        synthetic=True,
        note="Conversations with language models; nothing of ours has several turns.",
        read=mteb_retrieval("qa", "CodeFeedbackMT", "mixed"),
    ),
    PaperSet(
        "CodeFeedbackST",
        "qa",
        _coir("CoIR-Retrieval/codefeedback-st", "d213819e87aab9010628da8b73ab4eb337c89340"),
        _MODEL_MADE,
        synthetic=True,
        replaced_by=("sodocs_techqa", "docs_techqa", "interview_techqa"),
        read=mteb_retrieval("qa", "CodeFeedbackST", "mixed"),
    ),
    PaperSet(
        "CodeTransOceanContest",
        "code2code",
        _coir("CoIR-Retrieval/codetrans-contest", "20da4eb20a4b17300c0986ee148c90867a7f2a4d"),
        "Apache-2.0",
        replaced_by=("rosetta_code2code", "leetcode_code2code", "gfg_code2code"),
        read=mteb_retrieval("code2code", "CodeTransOceanContest", "cpp-python"),
    ),
    PaperSet(
        "CodeTransOceanDL",
        "code2code",
        _coir("CoIR-Retrieval/codetrans-dl", "281562cb8a1265ab5c0824bfa6ddcd9b0a15618f"),
        "Apache-2.0",
        note="One deep-learning framework to another; nothing of ours does.",
        read=mteb_retrieval("code2code", "CodeTransOceanDL", "python"),
    ),
    PaperSet(
        "CodeSearchNetCCRetrieval",
        "code2completion",
        _coir(
            "CoIR-Retrieval/CodeSearchNet-ccr", "6e1effa2c03723c5fde48ee912b5ee08d4f211e8", _CODE_SEARCH_NET
        ),
        _PER_REPOSITORY,
        replaced_by=("mined",),
        note="Ours: the kind `completion` of the mined repositories, all of permissive licence.",
        read=mteb_retrieval("code2completion", "CodeSearchNetCCRetrieval", "mixed"),
    ),
    PaperSet(
        "COIR-CodeSearchNet",
        "code2nl",
        _coir("CoIR-Retrieval/CodeSearchNet", "4adc7bc41202b5c13543c9c886a25f340634dab3", _CODE_SEARCH_NET),
        _PER_REPOSITORY,
        replaced_by=("mined", "rosetta_code2nl"),
        note="Ours: the kind `comment` of the mined repositories, all of permissive licence.",
        read=mteb_retrieval("code2nl", "COIR-CodeSearchNet", "mixed"),
    ),
    PaperSet(
        "CoSQA",
        "nl2code",
        _coir("CoIR-Retrieval/cosqa", "bc5efb7e9d437246ce393ed19d772e08e4a79535"),
        _PER_REPOSITORY,
        replaced_by=("conala", "so_codenn"),
        note="Web queries for functions of CodeSearchNet.",
        read=mteb_retrieval("nl2code", "CoSQA", "python"),
    ),
    PaperSet(
        "StackOverflowQA",
        "qa",
        _coir("CoIR-Retrieval/stackoverflow-qa", None),
        "CC-BY-SA-4.0",
        replaced_by=("sodocs_techqa",),
        note="The texts are of Stack Overflow's users; mteb's registry says MIT.",
        read=mteb_retrieval("qa", "StackOverflowQA", "mixed"),
    ),
    PaperSet(
        "SyntheticText2SQL",
        "nl2code",
        _coir("CoIR-Retrieval/synthetic-text2sql", "686b87296c3a0191b5d9415a00526c62db9fce09"),
        "Apache-2.0",
        synthetic=True,
        replaced_by=("wikisql", "text2sql_advising", "spider"),
        note="Gretel's synthetic_text_to_sql.",
        read=mteb_retrieval("nl2code", "SyntheticText2SQL", "sql"),
    ),
    # Public sets that the authors adapted; how is not written down, so none has a reader.
    PaperSet(
        "CodeForcesP2S",
        "nl2code",
        (),
        _UNKNOWN,
        note="The paper names no data set; the statements are Codeforces'.",
    ),
    PaperSet(
        "CodeForcesS2S",
        "code2code",
        (),
        _UNKNOWN,
        replaced_by=("leetcode_code2code",),
        note="The paper names no data set.",
    ),
    PaperSet(
        "CodeSearchNet",
        "nl2code",
        (Hub("code-search-net/code_search_net", "train", "all"),),
        _PER_REPOSITORY,
        replaced_by=("mined",),
        note="Ours: the kind `docstring` of the mined repositories, all of permissive licence.",
    ),
    PaperSet(
        "CommitPackFT",
        "nl2code",
        (Hub("bigcode/commitpackft"),),
        _PER_REPOSITORY,
        replaced_by=("mined",),
        note="One configuration a language. Each record names the licence of its repository. Ours: the kind "
        "`commit`. CodeEditSearchRetrieval is made of the same data.",
    ),
    PaperSet(
        "CoSQA+",
        "nl2code",
        (),
        _UNKNOWN,
        replaced_by=("conala", "so_codenn"),
        note="Gong et al. 2024; which copy the authors used is not written down.",
    ),
    PaperSet(
        "DataScience",
        "qa",
        (),
        "CC-BY-SA-3.0",
        replaced_by=("sodocs_techqa",),
        note="Kaggle's stacksample: Stack Overflow's questions and answers, on Kaggle and not on the Hub.",
    ),
    PaperSet(
        "Doc2Code",
        "nl2code",
        (Hub("teven/code_docstring_corpus", "top_level"),),
        _PER_REPOSITORY,
        replaced_by=("mined",),
        note="EdinburghNLP/code-docstring-corpus, by a copy that others made.",
    ),
    PaperSet(
        "GlaiveCodeAssistantV2",
        "qa",
        (Hub("glaiveai/glaive-code-assistant-v2"),),
        _MODEL_MADE,
        synthetic=True,
        replaced_by=("sodocs_techqa", "docs_techqa"),
    ),
    PaperSet(
        "HackerEarth",
        "code2code",
        (),
        _UNKNOWN,
        replaced_by=("leetcode_code2code", "gfg_code2code"),
        note="Description2Code, which is not on the Hub under that name.",
    ),
    PaperSet(
        "LeetCodeP2S",
        "nl2code",
        (),
        "LicenseRef-LeetCode",
        note="The statements are LeetCode's: they are measured with and not trained on.",
    ),
    PaperSet(
        "LeetCodeXLang",
        "code2code",
        (),
        "CC-BY-SA-4.0",
        replaced_by=("leetcode_code2code",),
        note="doocs/leetcode, which ours reads too.",
    ),
    PaperSet(
        "MBPP",
        "nl2code",
        (Hub("google-research-datasets/mbpp", "train", "full"),),
        "CC-BY-4.0",
        note="Evaluated on here with all its rows, so nothing of it is trained on.",
    ),
    PaperSet(
        "MLQuestions",
        "qa",
        (Hub("mteb/MLQuestions", "dev"),),
        "CC-BY-NC-SA-4.0",
        note="Not for commercial use.",
    ),
    PaperSet(
        "Spider",
        "nl2code",
        (Hub("xlangai/spider"),),
        "CC-BY-SA-4.0",
        replaced_by=("spider",),
        note="Ours has the development set alone.",
    ),
    PaperSet(
        "StackExchangeBody",
        "qa",
        (),
        "CC-BY-SA-4.0",
        replaced_by=("sodocs_techqa",),
        note="The paper names no data set. flax-sentence-embeddings has such sets, one file a site.",
    ),
    PaperSet(
        "StackExchangePost",
        "qa",
        (),
        "CC-BY-SA-4.0",
        replaced_by=("sodocs_techqa",),
        note="The paper names no data set.",
    ),
    PaperSet(
        "StackExchangeTitle",
        "qa",
        (),
        "CC-BY-SA-4.0",
        replaced_by=("sodocs_techqa", "so_codenn"),
        note="The paper names no data set.",
    ),
    PaperSet(
        "SWE-Bench",
        "nl2code",
        (Hub("princeton-nlp/SWE-bench"),),
        _PER_REPOSITORY,
        replaced_by=("mined",),
        note="Ours: the kind `commit`, message → diff. Twelve Python repositories, some kept out of mining.",
    ),
    PaperSet(
        "WikiSQL",
        "nl2code",
        (Hub("Salesforce/wikisql"),),
        "BSD-3-Clause",
        replaced_by=("wikisql",),
    ),
    # Made by the authors with GPT-4o and not published.
    PaperSet(
        "CodeChefP2S",
        "nl2code",
        (),
        _MODEL_MADE,
        synthetic=True,
        note="Not published.",
    ),
    PaperSet(
        "CodeChefS2S",
        "code2code",
        (),
        _MODEL_MADE,
        synthetic=True,
        replaced_by=("leetcode_code2code",),
        note="Not published.",
    ),
    PaperSet(
        "CodeChefXLang",
        "code2code",
        (),
        _MODEL_MADE,
        synthetic=True,
        replaced_by=("leetcode_code2code", "rosetta_code2code"),
        note="Not published: C++ and Python originals, written anew in eight more languages.",
    ),
    PaperSet(
        "SyntheticDLTrans",
        "code2code",
        (),
        _MODEL_MADE,
        synthetic=True,
        note="Not published; nothing of ours goes from one framework to another.",
    ),
)

PAPER_SETS: Mapping[str, PaperSet] = MappingProxyType({row.name: row for row in _ROWS})

HUB_SOURCES: Mapping[str, TrainSource] = MappingProxyType(
    {
        row.name: TrainSource(
            row.name, (row.task,), row.where, row.licence, ("mixed",), row.read, note=row.note
        )
        for row in _ROWS
        if row.read is not None
    }
)
"""Those of the paper's sets that have a reader, as sources that `build_train` takes by name."""
