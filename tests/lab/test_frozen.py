"""What the labs' frozen folder does: whoever touches it waits, and is free when it is over."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from frozen import folder_that_freezes

pytestmark = pytest.mark.lab


def test_who_touches_a_frozen_folder_waits_until_it_is_thawed(tmp_path: Path) -> None:
    with folder_that_freezes(tmp_path / "state") as folder:
        file = folder.path / "file"
        file.write_text("here")
        assert (folder.behind / "file").read_text() == "here"
        folder.freeze()
        with subprocess.Popen(["cat", file], stdout=subprocess.PIPE) as reader:
            with pytest.raises(subprocess.TimeoutExpired):
                reader.wait(0.5)
            folder.thaw()
            assert reader.communicate(timeout=5.0)[0] == b"here"


def test_the_end_of_a_frozen_folder_frees_who_waits(tmp_path: Path) -> None:
    with folder_that_freezes(tmp_path / "state") as folder:
        folder.freeze()
        reader = subprocess.Popen(["cat", folder.path / "file"], stderr=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.5)
    with reader:
        assert b"file" in reader.communicate(timeout=5.0)[1]
    assert not any((tmp_path / "state").iterdir()), "nothing is mounted any more"
