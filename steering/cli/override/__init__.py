"""`steering override add | list | remove | acknowledge`: overrides from the command line.

`compose` makes a file of what was typed, `effect` finds which override decides where, `show`
renders the list and what will change, `directory` keeps the files, and `command` asks first and
then does it.
"""

from __future__ import annotations

from steering.errors import CommandError


class NotDoneError(CommandError):
    """Nothing was changed, and why."""
