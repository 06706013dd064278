import zlib

import pytest

from codequarry.data.catalog.datasets.shell import (
    read_cheat_sheets,
    read_commands,
    read_nl2bash,
    read_pages,
    read_powershell,
)

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


SHEET = b"""---
tags: [ compression ]
---
# To extract a .tar
# in specified directory:
tar -xvf /path/to/foo.tar -C /path

# To print the version:
uname -v
# #1 SMP Debian

# short
ls

# A comment alone

echo alone
"""


def test_a_block_is_its_comment_and_its_lines():
    (pair,) = read_cheat_sheets([("cheat/cheatsheets/tar", SHEET)])
    assert pair.query == "To extract a .tar in specified directory"
    assert pair.document == "tar -xvf /path/to/foo.tar -C /path"
    assert pair.language == "bash"


def test_the_folder_names_the_language():
    sheet = b"# Transpose a matrix\nlist(zip(*matrix))\n"
    (pair,) = read_cheat_sheets([("chubin/cheat.sheets/sheets/_python/1line", sheet)])
    assert pair.language == "python"


def test_files_about_the_sheets_and_broken_text_are_passed_over():
    sheet = b"# Transpose a matrix\nlist(zip(*matrix))\n"
    assert not list(
        read_cheat_sheets([("a/b/sheets/_info.yaml", sheet), ("a/b/c", b"# Bad \xff text\nls\n")])
    )


POWERSHELL_PAGE = b"""---
title: Get-AzContainerAppAuthToken
---
# Get-AzContainerAppAuthToken

## SYNTAX

### Get (Default)
```powershell
Get-AzContainerAppAuthToken -ContainerAppName <String>
```

## EXAMPLES

### Example 1: Get auth token for a container app.
```powershell
Get-AzContainerAppAuthToken -ContainerAppName azps-2
```

```output
Location Name
```

### Example 2
```powershell
PS C:\\> $x = Get-Process
PS C:\\> $x.Name
pwsh
```

This command names a process.

More words.

## PARAMETERS

### -ContainerAppName
```powershell
not an example
```
"""


def test_only_examples_are_read_and_only_what_is_typed():
    first, second = read_powershell([("p.md", POWERSHELL_PAGE)])
    assert first.query == "Get auth token for a container app."
    assert first.document == "Get-AzContainerAppAuthToken -ContainerAppName azps-2"
    assert second.query == "This command names a process."
    assert second.document == "$x = Get-Process\n$x.Name"


def texts(pairs):
    return [(pair.query, pair.document) for pair in pairs]


def test_nl2bash_joins_line_to_line():
    files = [
        ("TellinaTool/nl2bash/data/bash/all.cm", b"find . -name x\n\nphp -i | more\n"),
        ("TellinaTool/nl2bash/data/bash/all.nl", b" Find x \nlost\nDisplay PHP info\n"),
    ]
    assert texts(read_nl2bash(files)) == [("Find x", "find . -name x"), ("Display PHP info", "php -i | more")]


def test_nl2bash_of_unequal_length_stops():
    files = [("all.cm", b"ls\n"), ("all.nl", b"List\nToo many\n")]
    with pytest.raises(ValueError, match="shorter"):
        list(read_nl2bash(files))
