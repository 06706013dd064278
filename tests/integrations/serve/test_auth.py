"""The key: where it comes from, how it is compared, and when there has to be one."""

import pytest

from codequarry.common.environment import is_loopback
from codequarry.integrations.serve.auth import KEY_VARIABLE, read_key, refuse_open_door, shows_key


def test_a_key_is_read_from_a_file_or_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key(None) is None
    (tmp_path / "key").write_text("abc123\n")
    assert read_key(tmp_path / "key") == "abc123"
    monkeypatch.setenv(KEY_VARIABLE, "def456")
    assert read_key(None) == "def456"
    with pytest.raises(ValueError, match="both given"):
        read_key(tmp_path / "key")


@pytest.mark.parametrize("text", ["secret key", "schlüssel-secret", "secret\x07"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(tmp_path, monkeypatch, text):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="characters that a header cannot carry") as refused:
        read_key(tmp_path / "key")
    assert "secret" not in str(refused.value)


def test_an_empty_or_missing_key_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    (tmp_path / "key").write_text("\n")
    with pytest.raises(ValueError, match="holds no key"):
        read_key(tmp_path / "key")
    with pytest.raises(ValueError, match="cannot be read"):
        read_key(tmp_path / "none")


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("Bearer abc", True),
        ("bearer abc", True),
        ("Bearer abd", False),
        ("Bearer ab", False),
        ("Bearer ä", False),
        ("abc", False),
        ("", False),
        (None, False),
    ],
)
def test_only_the_right_key_opens(header, shown):
    assert shows_key(header, "abc") is shown


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_an_address_others_reach_needs_a_key_or_no_key(host):
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="can be reached from other machines, and no key is asked for"):
        refuse_open_door(host, None, no_key=False)
    refuse_open_door(host, "abc", no_key=False)
    refuse_open_door(host, None, no_key=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_alone_needs_none(host):
    refuse_open_door(host, None, no_key=False)


def test_a_key_and_no_key_contradict_each_other():
    with pytest.raises(ValueError, match="drop one of the two"):
        refuse_open_door("127.0.0.1", "abc", no_key=True)
