"""Who may write only `overrides.d` puts anything there: nothing hangs, nothing is given away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from etc import ONE_SITE, place

from steering.config import ConfigError, fingerprint, load, override_files
from steering.config.validate import MOST
from steering.config.yaml_file import Allowance
from steering.override import Override

SECRET = "hunter2-and-nobody-else"
GOOD = "overrides: [{name: x, match: {}, action: local, until: never, reason: r, by: noc}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`overrides.d` of a host."""
    (tmp_path / "etc/policies/overrides.d").mkdir(parents=True)
    place(tmp_path / "etc", ONE_SITE)
    (tmp_path / "secret").write_text(f"overrides: {SECRET}\n{SECRET}: {SECRET}\n")
    return tmp_path / "etc/policies/overrides.d"


def config(folder: Path) -> Path:
    return folder.parents[1] / "steering.yaml"


def refused(folder: Path) -> list[str]:
    """What is said of the files, each look and each reading within seconds."""
    started = time.process_time()
    fingerprint(config(folder))
    with pytest.raises(ConfigError) as caught:
        load(config(folder))
    assert time.process_time() - started < 20
    said = list(caught.value.reasons)
    assert all(text.isprintable() and len(text) < 2000 for text in said)
    assert SECRET not in "".join(said)
    return said


def put_pipe(folder: Path) -> None:
    os.mkfifo(folder / "x.yaml")


def put_device(folder: Path) -> None:
    (folder / "x.yaml").symlink_to("/dev/zero")


def put_terminal(folder: Path) -> None:
    (folder / "x.yaml").symlink_to("/dev/tty")


def put_directory(folder: Path) -> None:
    (folder / "x.yaml").mkdir()


def put_endless(folder: Path) -> None:
    with (folder / "x.yaml").open("wb") as file:
        file.truncate(1 << 40)


def put_secret_link(folder: Path) -> None:
    (folder / "x.yaml").symlink_to(folder.parents[2] / "secret")


def put_secret_by_links(folder: Path) -> None:
    (folder / "d").symlink_to(folder.parents[2])
    (folder / "x.yaml").symlink_to("d/secret")


def put_secret_by_proc(folder: Path) -> None:
    (folder / "x.yaml").symlink_to("/proc/self/environ")


def put_hard_link(folder: Path) -> None:
    (folder / "x.yaml").hardlink_to(folder.parents[2] / "secret")


def put_loop(folder: Path) -> None:
    (folder / "x.yaml").symlink_to("x.yaml")


def put_deep(folder: Path) -> None:
    (folder / "x.yaml").write_text("overrides: " + "[" * 1_000_000)


def put_laughs(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    (folder / "x.yaml").write_text("\n".join(lines) + "\noverrides: *a29\n")


def put_values(folder: Path) -> None:
    (folder / "x.yaml").write_text("overrides: [" + "a," * 250_001 + "]\n")


def put_keys(folder: Path) -> None:
    (folder / "x.yaml").write_text("".join(f"k{n}: 1\n" for n in range(20_000)))


def put_many(folder: Path) -> None:
    entry = "&a {name: x, match: {}, action: local, until: never, reason: r, by: noc}"
    (folder / "x.yaml").write_text(f"overrides: [{entry}{', *a' * 10_000}]\n")


def put_much(folder: Path) -> None:
    for number in range(5):
        (folder / f"{number}.yaml").write_text(GOOD.replace("x", f"x{number}") + "#" * (1000 << 10))


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (put_pipe, "is not a regular file, wanted a YAML file"),
        (put_device, "is not a regular file, wanted a YAML file"),
        (put_terminal, "is not a regular file, wanted a YAML file"),
        (put_directory, "is not a regular file, wanted a YAML file"),
        (put_endless, "is 1099511627776 bytes long, wanted at most 1048576"),
        (put_secret_link, "leads out of"),
        (put_secret_by_links, "leads out of"),
        (put_secret_by_proc, "leads out of"),
        (put_hard_link, "has another name (a hard link) as well, wanted a YAML file of its own"),
        (put_loop, "cannot be read (Too many levels of symbolic links)"),
        (put_deep, "is nested too deeply"),
        (put_laughs, "unknown key"),
        pytest.param(
            put_values, f"wanted at most {Allowance().values} values", marks=pytest.mark.long
        ),
        pytest.param(put_keys, "more is wrong, here or elsewhere", marks=pytest.mark.long),
        (put_many, f"makes 10001 overrides, wanted at most {override_files.MANY}"),
        pytest.param(put_much, f"wanted at most {Allowance().size} bytes", marks=pytest.mark.long),
    ],
    ids=lambda part: part.__name__ if callable(part) else "",
)
def test_it_is_refused_at_once_and_says_nothing_of_others(
    folder: Path, put: Callable[[Path], None], said: str
) -> None:
    put(folder)
    problems = refused(folder)
    assert any(said in problem for problem in problems), problems[:3]
    assert len(problems) <= MOST + 1


def test_a_device_is_not_even_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []
    real = os.open

    def watch(path: str | Path, flags: int, *rest: int) -> int:
        opened.append((str(path), flags))
        return real(path, flags, *rest)

    put_device(folder)
    monkeypatch.setattr(os, "open", watch)
    refused(folder)
    (flags,) = (flags for path, flags in opened if path.endswith("x.yaml"))
    assert flags & os.O_PATH, "an open by which a device would do something"


def test_a_pipe_put_in_place_after_the_look_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "x.yaml").write_text(GOOD)
    real = os.open

    def swap(path: str | Path, *rest: int) -> int:
        if str(path).endswith("x.yaml"):
            (folder / "x.yaml").unlink()
            os.mkfifo(folder / "x.yaml")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", swap)
    (problem,) = refused(folder)
    assert "is not a regular file" in problem


def test_links_within_the_directory_are_followed(folder: Path) -> None:
    """As a mounted ConfigMap of Kubernetes has them."""
    (folder / "..2026").mkdir()
    (folder / "..2026/x.yaml").write_text(GOOD)
    (folder / "..data").symlink_to("..2026")
    (folder / "x.yaml").symlink_to("..data/x.yaml")
    assert [o.name for o in load(config(folder)).overrides] == ["x"]


def test_the_directory_itself_may_be_a_link(folder: Path) -> None:
    (folder / "x.yaml").write_text(GOOD)
    folder.rename(folder.parents[2] / "elsewhere")
    folder.symlink_to(folder.parents[2] / "elsewhere")
    assert [o.name for o in load(config(folder)).overrides] == ["x"]


@pytest.mark.parametrize("name", [b"a\nb.yaml", b"\x1b[2J.yaml", b"\xff\xfe.yaml", b"\xe2\x80\xae"])
def test_a_name_moves_no_cursor(folder: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name.removesuffix(b".yaml") + b".yaml")).mkdir()
    assert len(refused(folder)) == 1


def test_more_files_than_a_bound_are_said_to_be_too_many(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(override_files, "MANY", 20)
    monkeypatch.setattr(_module(), "ENTRIES", 20)
    (folder / "good.yaml").write_text(GOOD)
    for number in range(20):
        (folder / f"junk{number}").touch()
    before = fingerprint(config(folder))
    (problem,) = refused(folder)
    assert "holds more than 20 files, wanted fewer" in problem
    (folder / "junk7").unlink()
    assert fingerprint(config(folder)) != before
    assert [o.name for o in load(config(folder)).overrides] == ["x"]


def _module() -> object:
    import sys

    return sys.modules[load.__module__]


def test_a_thousand_that_match_nothing_are_remarked_on_within_seconds(folder: Path) -> None:
    entry = "name: x{0}, match: {{upstream: g{0}}}, action: local, until: never, reason: r, by: b"
    text = "".join(f"  - {{{entry.format(number)}}}\n" for number in range(1_000))
    (folder / "x.yaml").write_text(f"overrides:\n{text}")
    setup = load(config(folder))
    assert len(setup.overrides) == 1_000
    assert len(setup.remarks) == MOST


def test_an_override_is_still_what_it_was(folder: Path) -> None:
    (folder / "x.yaml").write_text(GOOD)
    (override,) = load(config(folder)).overrides
    assert isinstance(override, Override)
