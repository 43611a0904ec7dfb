"""The operator's word from the command line: `steering override add | list | remove`.

`entry` makes a file of what was typed, `reach` says which override has the word where, `text`
tells what is and what will be, `shelf` is the directory the files lie in, and `command` asks
first and then does it.
"""

from __future__ import annotations

from steering.excuse import Excuse


class NotDone(Excuse):
    """Nothing was changed, and why."""
