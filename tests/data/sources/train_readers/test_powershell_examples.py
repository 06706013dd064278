from codequarry.data.sources.train_readers.powershell_examples import read_powershell

PAGE = b"""---
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
    first, second = read_powershell([("p.md", PAGE)])
    assert first.query == "Get auth token for a container app."
    assert first.document == "Get-AzContainerAppAuthToken -ContainerAppName azps-2"
    assert second.query == "This command names a process."
    assert second.document == "$x = Get-Process\n$x.Name"
