"""`steering override add | list | remove | acknowledge`: overrides from the command line.

`compose` makes a file from the options, `effect` finds which override decides for which address,
`show` prints the list and the changes, `directory` writes the files, and `command` asks and then
does it.
"""

from __future__ import annotations

from steering.errors import CommandError


class NotDoneError(CommandError):
    """Nothing was changed, and why."""
