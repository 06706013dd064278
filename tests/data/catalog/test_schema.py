import pytest

from codequarry.data.catalog.schema import LICENCES, get_licence


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
