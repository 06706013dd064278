import json

import pytest

from codequarry.modules.whole_files import write_json
from codequarry.release.manifest import check_manifest
from codequarry.release.renew_card import renew_card
from codequarry.release.runtimes import Runtime
from codequarry.release.verify import Verification


@pytest.fixture
def verification(release, tmp_path):
    """What `verify --out` writes, of one runtime that was near and one that gave no number."""
    rows = (
        Runtime("transformers", tmp_path, "float32", {"transformers": "5.0.1"}, 3.5e-7, 0.99999),
        Runtime("openvino", tmp_path, "float32", {"openvino": "2026.4"}, problems=("openvino gives NaN.",)),
    )
    path = tmp_path / "verification.json"
    write_json(
        path, Verification(release, ("openvino gives NaN.",), (), rows).record("codequarry release verify")
    )
    return path


def test_a_renewed_card_shows_the_runtimes_and_the_manifest_fits_it(release, verification):
    before = (release / "README.md").read_text(encoding="utf-8")
    assert "5.0.1" not in before
    renew_card(release, load_as="org/name", verification=verification)
    card = (release / "README.md").read_text(encoding="utf-8")
    assert "5.0.1" in card
    assert 'SentenceTransformer("org/name")' in card
    assert check_manifest(release) == []


def test_the_same_measurements_give_the_card_that_build_gave(release):
    before = (release / "README.md").read_bytes()
    renew_card(release)
    assert (release / "README.md").read_bytes() == before


def test_a_writing_that_was_cut_short_is_done_again(release):
    (release / "README.md").write_text("half", encoding="utf-8")
    renew_card(release)
    assert check_manifest(release) == []


def test_a_release_that_was_changed_is_refused(release):
    (release / "LICENSE").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a release as it was built: LICENSE has 4 bytes"):
        renew_card(release)


def test_the_verification_of_another_release_is_refused(release, verification):
    record = json.loads(verification.read_text())
    write_json(verification, record | {"golden_vectors": "0" * 64})
    before = (release / "README.md").read_bytes()
    with pytest.raises(ValueError, match="is of another release"):
        renew_card(release, verification=verification)
    assert (release / "README.md").read_bytes() == before
