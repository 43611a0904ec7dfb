"""A zone's copies in the files: what is wanted, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from steering.config import ConfigError, Setup, load
from steering.config.resolvers import BindControl
from steering.config_diff import changes
from steering.from_config import key_sources_of

ONE: dict[str, Any] = {
    "unbound": {"include": "/etc/unbound/copy.conf"},
    "file": "/var/lib/unbound/root.zone",
    "clients": ["10.0.0.53"],
}
COPY: dict[str, Any] = {
    "zone_copy": "root",
    "servers": ["198.41.0.4"],
    "resolvers": {"cache-1": ONE},
}


def loaded(tmp: Path, *copies: dict[str, Any], zones: str = "com.") -> Setup:
    (tmp / "policies").mkdir(exist_ok=True)
    for old in (tmp / "policies").iterdir():
        old.unlink()
    (tmp / "steering.yaml").write_text("site: sin\nsites: {}\nmode: observe\n")
    (tmp / "policies/gtld.yaml").write_text(
        f"upstream: gtld\nzones: [{zones}]\nnameservers: {{a.example.: [192.5.6.30]}}\n"
    )
    for number, copy in enumerate(copies):
        (tmp / f"policies/copy{number}.yaml").write_text(json.dumps(copy))
    return load(tmp / "steering.yaml")


def problem(tmp: Path, *copies: dict[str, Any], zones: str = "com.") -> str:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp, *copies, zones=zones)
    return "\n".join(map(str, refused.value.problems))


def test_a_copy_stands_beside_the_policies(tmp_path: Path) -> None:
    setup = loaded(tmp_path, COPY)
    (copy,) = setup.copies
    assert (copy.zone, copy.interval, copy.margin, copy.max_age) == (".", 60.0, 86_400.0, None)
    assert copy.file == tmp_path / "policies/copy0.yaml"
    assert [policy.upstream for policy in setup.policies] == ["gtld"]
    assert key_sources_of(setup).zones == (".", "com.")  # whose keys verify the copies


def test_each_resolver_is_of_one_kind(tmp_path: Path) -> None:
    bind = {**COPY, "resolvers": {"b": {"bind": {}, "address": "10.0.0.53", "clients": ["::1"]}}}
    (copy,) = loaded(tmp_path, bind).copies
    assert isinstance(copy.resolvers["b"].control, BindControl)
    both = {**COPY, "resolvers": {"b": {**ONE, "bind": {}}}}
    assert "names no single resolver" in problem(tmp_path, both)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file": None}, "shows no copy, wanted its file, the address of its server, or both"),
        ({"command": ["/bin/out"]}, "restore: is missing, wanted with command"),
        ({"restore": ["/bin/back"]}, "command: is missing, wanted with restore"),
        ({"clients": []}, "clients: is empty"),
        ({"through": ["10.0.1.53", "10.0.1.53"]}, "listed twice"),
        ({"command": []}, "command: is empty"),
    ],
)
def test_what_is_missing_of_a_resolver_is_said(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    one = {key: value for key, value in {**ONE, **change}.items() if value is not None}
    assert said in problem(tmp_path, {**COPY, "resolvers": {"cache-1": one}})


def test_somebody_has_to_have_the_zone(tmp_path: Path) -> None:
    copy = {key: value for key, value in COPY.items() if key != "servers"}
    assert "servers: is missing, wanted nameservers of .: no policy" in problem(tmp_path, copy)
    assert loaded(tmp_path, copy, zones=".").copies[0].servers == ()


def test_names_are_in_the_zone_and_copies_have_one_name_each(tmp_path: Path) -> None:
    outside = {**COPY, "zone": "example.", "names": ["www.example.org."]}
    assert "names: www.example.org. is not below example." in problem(tmp_path, outside)
    assert loaded(tmp_path, {**COPY, "names": ["com.", "zw."]}).copies
    assert "root is the copy of copy0.yaml already" in problem(tmp_path, COPY, COPY)


def test_copies_alone_are_no_policies(tmp_path: Path) -> None:
    loaded(tmp_path, COPY)
    (tmp_path / "policies/gtld.yaml").unlink()
    with pytest.raises(ConfigError, match="is all that the policies hold"):
        load(tmp_path / "steering.yaml")


def test_a_change_is_told_key_by_key(tmp_path: Path) -> None:
    none, one = loaded(tmp_path), loaded(tmp_path, COPY)
    other = loaded(tmp_path, {**COPY, "margin": "2d"})
    assert changes(none, one) == ("zone_copy root added (1 resolver)",)
    assert changes(one, other) == ("zone_copy root: margin: was 1d, now 2d",)
    assert changes(other, none) == ("zone_copy root removed",)
