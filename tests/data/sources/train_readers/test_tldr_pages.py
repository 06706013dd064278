import zlib

from codequarry.data.sources.train_readers.tldr_pages import read_commands, read_pages

PAGE = b"""# 7z

> File archiver with a high compression ratio.
> More information: <https://manned.org/7z>.

- Encrypt an existing archive (including filenames):

`7z a {{path/to/encrypted.7z}} -p{{password}} -mhe=on {{path/to/archive.7z}}`

- Display help:

`7z {{[-h|--help]}}`
"""
PATH = "tldr-pages/tldr/pages/common/7z.md"


def test_each_example_gives_its_line_without_braces():
    encrypt, show = read_commands([(PATH, PAGE)])
    assert encrypt.document == "7z a path/to/encrypted.7z -ppassword -mhe=on path/to/archive.7z"
    assert encrypt.query.removeprefix("7z: ") == "Encrypt an existing archive (including filenames)"
    assert show.document == "7z -h"
    assert show.query == "7z: Display help"  # two words say nothing without the command
    assert encrypt.language == "bash"


def test_a_description_that_names_its_command_has_no_name_in_front():
    page = b"# znc\n\n> A bouncer.\n\n- Setup `znc` for systemd:\n\n`sudo -u znc znc -c`\n"
    (pair,) = read_commands([("tldr-pages/tldr/pages/linux/znc.md", page)])
    assert pair.query == "Setup `znc` for systemd"


def test_windows_commands_are_not_called_bash():
    (pair,) = read_commands(
        [("tldr-pages/tldr/pages/windows/x.md", b"# x\n\n- Clear the whole screen:\n\n`cls`\n")]
    )
    assert pair.language == "powershell/cmd"


def test_a_page_is_asked_for_by_name_or_by_description():
    odd = next(f"pages/common/{n}.md" for n in range(99) if zlib.crc32(f"pages/common/{n}.md".encode()) % 2)
    even = next(
        f"pages/common/{n}.md" for n in range(99) if not zlib.crc32(f"pages/common/{n}.md".encode()) % 2
    )
    by_name, by_description = read_pages([(f"tldr-pages/tldr/{path}", PAGE) for path in (odd, even)])
    name = odd.split("/")[-1].removesuffix(".md")
    assert by_name.query == f"What does the {name} command do?"
    assert by_name.document == PAGE.decode().strip()
    assert by_description.query == "File archiver with a high compression ratio."
    assert by_description.document.startswith(f"# {even.split('/')[-1].removesuffix('.md')}\n- Encrypt")
    assert "More information" not in by_description.document


def test_a_page_without_examples_gives_nothing():
    assert list(read_pages([(PATH, b"# x\n\n> Only words.\n")])) == []
