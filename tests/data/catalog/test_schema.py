from pathlib import Path

import pytest

from codequarry.data.catalog.schema import LICENCES, Hub, PaperSet, get_licence, read_rows


@pytest.mark.parametrize("spdx", LICENCES)
def test_what_may_not_be_passed_on_has_no_spdx_identifier_of_its_own(spdx: str) -> None:
    assert LICENCES[spdx].spdx == spdx
    assert LICENCES[spdx].redistributable is not spdx.startswith("LicenseRef-")


def test_share_alike_permits_commercial_use_and_non_commercial_does_not() -> None:
    for spdx in ("CC-BY-SA-3.0", "CC-BY-SA-4.0", "GFDL-1.2-or-later", "GFDL-1.3-or-later"):
        assert LICENCES[spdx].share_alike
        assert LICENCES[spdx].commercial
    assert not LICENCES["CC-BY-NC-4.0"].commercial
    assert not LICENCES["MIT"].share_alike


def test_an_unknown_licence_is_refused() -> None:
    with pytest.raises(ValueError, match="'WTFPL' is no licence known here"):
        get_licence("WTFPL")


ROW = '[[own]]\nname = "Own"\ntask = "qa"\nlicence = "MIT"\n'


def test_a_table_becomes_typed_rows(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        ROW + 'replaced_by = ["tldr"]\nwhere = [{ dataset = "some/set", config = "all" }]\n'
    )
    place = Hub("some/set", config="all")
    expected = PaperSet("Own", "qa", "MIT", where=(place,), replaced_by=("tldr",))
    assert read_rows(tmp_path / "own.toml", PaperSet) == (expected,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            ROW + ROW + 'licens = "MIT"\n',
            r"own\.toml, row 2: .*'licens'.* The keys are name, task, ",
        ),
        (ROW + 'where = [{ data = "some/set" }]\n', r"own\.toml, row 1: .*'data'"),
        ('[[own]]\nname = "Own"\n', r"own\.toml, row 1: .*'task' and 'licence'"),
        (ROW + "[[owns]]\n", r"own\.toml has the tables own, owns: expected own alone\."),
    ],
)
def test_a_table_with_an_unknown_or_absent_key_is_a_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_rows(tmp_path / "own.toml", PaperSet)
