"""What a process may do, by /proc, and what the bits of a file let a user do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from steering.lab.network.peering import passable
from steering.system.permissions import Capability, credentials, may_pass


def test_the_numbers_are_the_kernel_s() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip(f"there is no {header}")
    words = [line.split() for line in header.read_text().splitlines()]
    defined = {w[1]: w[2] for w in words if len(w) > 2 and w[0] == "#define"}
    assert [str(int(one)) for one in Capability] == [defined[one.name] for one in Capability]


def test_of_this_process_both_ways_of_asking_say_the_same() -> None:
    mine = credentials("self")
    assert mine == credentials(os.getpid())
    assert mine.uid == os.geteuid()


def test_where_there_is_no_such_process_it_says_so() -> None:
    with pytest.raises(FileNotFoundError):
        credentials(2**22 + 1)


root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

_IMPORT = "from steering.system.permissions import Capability, credentials\n"
_SAY = (
    "mine = credentials('self')\n"
    "print(mine.uid, *(one.name for one in Capability if mine.has(one)))\n"
)


@root
def test_the_effective_user_counts_and_takes_the_capabilities_along() -> None:
    code = f"{_IMPORT}import os\nos.seteuid(65534)\n{_SAY}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "65534\n"


@root
@pytest.mark.parametrize("capability", list(Capability))
def test_one_capability_that_was_dropped_is_the_one_that_is_missing(capability: Capability) -> None:
    if not credentials("self").has(capability):
        pytest.skip(f"there is no {capability.name} here")
    # capset(2), third version: two words each of effective, permitted, inheritable.
    drop = (
        "import ctypes, struct\n"
        "libc, head = ctypes.CDLL(None), struct.pack('Ii', 0x20080522, 0)\n"
        "data = ctypes.create_string_buffer(24)\n"
        "assert libc.capget(head, data) == 0\n"
        "words = list(struct.unpack('6I', data.raw))\n"
        f"words[0] &= ~(1 << {int(capability)})\n"
        "assert libc.capset(head, struct.pack('6I', *words)) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT + drop + _SAY], capture_output=True, text=True, check=True
    )
    before = [one.name for one in Capability if credentials("self").has(one)]
    assert done.stdout.split()[1:] == [name for name in before if name != capability.name]


UID, GID, OTHER = 1001, 1002, 1003


@pytest.mark.parametrize(
    ("mode", "owner", "group", "others"),
    [
        (0o100, True, False, False),
        (0o010, False, True, False),
        (0o001, False, False, True),
        (0o666, False, False, False),
        (0o111, True, True, True),
        (0o011, False, True, True),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_bits_are_those_of_the_first_that_one_is(
    tmp_path: Path, mode: int, owner: bool, group: bool, others: bool
) -> None:
    """path_resolution(7): an owner who may not is not let in as one of the group."""
    folder = tmp_path / "folder"
    folder.mkdir()
    os.chown(folder, UID, GID)
    folder.chmod(mode)
    found = folder.stat()
    assert may_pass(found, uid=UID, gid=GID) == owner
    assert may_pass(found, uid=OTHER, gid=GID) == group
    assert may_pass(found, uid=OTHER, gid=OTHER) == others
    assert may_pass(found, gid=GID) == group
    assert may_pass(found, gid=None) == others


@root
def test_the_kernel_lets_in_whom_the_bits_let_in(tmp_path: Path) -> None:
    passable(tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    os.chown(folder, UID, GID)
    code = (
        "import os, sys\n"
        "os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[3]))\n"
        "print(int(os.access(sys.argv[1], os.X_OK)))\n"
    )
    for mode in (0o100, 0o010, 0o001, 0o011):
        folder.chmod(mode)
        for uid, gid in ((UID, GID), (OTHER, GID), (OTHER, OTHER)):
            done = subprocess.run(
                [sys.executable, "-c", code, str(folder), str(gid), str(uid)],
                capture_output=True,
                text=True,
                check=True,
            )
            assert may_pass(folder.stat(), uid=uid, gid=gid) == bool(int(done.stdout)), (mode, uid)
