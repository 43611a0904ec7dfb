"""The operator's word from the command line: `steering override add | list | remove`.

`entry` makes a file of what was typed, `reach` says which override has the word where, `text`
tells what is and what will be, `shelf` is the directory the files lie in, and `command` asks
first and then does it.
"""

FAILED, WRONG_INPUT = 1, 2


class NotDone(Exception):  # noqa: N818 - it says whose fault it is by its exit code
    """Nothing was changed, and why."""

    def __init__(self, code: int, because: str) -> None:
        super().__init__(because)
        self.code = code
