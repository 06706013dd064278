import re

from codequarry.data.catalog.held_out import refuse
from codequarry.data.catalog.repositories import MINED_REPOSITORIES
from codequarry.data.catalog.schema import LICENCES
from codequarry.data.parsing.languages import LANGUAGES


def test_every_repository_is_pinned_permissive_and_allowed():
    for row in MINED_REPOSITORIES:
        licence = LICENCES[row.licence]
        assert licence.commercial, row
        assert licence.redistributable, row
        assert not licence.share_alike, row
        assert re.fullmatch(r"[0-9a-f]{40}", row.commit), row
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", row.name), row
        refuse(row.name)


def test_no_repository_comes_twice():
    names = [row.name.lower() for row in MINED_REPOSITORIES]
    assert len(set(names)) == len(names)


def test_ten_languages_have_repositories():
    assert len(MINED_REPOSITORIES) >= 150
    assert len({row.language for row in MINED_REPOSITORIES}) >= 10
    assert {row.language for row in MINED_REPOSITORIES} <= {language.name for language in LANGUAGES}
