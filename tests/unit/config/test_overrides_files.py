"""What operators write into `overrides.yaml` and `overrides.d/`, and what they are told."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from etc import ANOTHER, POLICY, TWO_SITES, place
from hypothesis import given
from hypothesis import strategies as st

from steering.config import (
    ConfigError,
    Overrides,
    Problem,
    Setup,
    check,
    fingerprint,
    load,
)
from steering.config.overrides import moment
from steering.config.yaml_file import parse, write
from steering.format import rfc3339
from steering.model import Family
from steering.override import Action, Match, Override

ONE = """\
overrides:
  - name: verisign-sin-migration
    match: {upstream: gtld-servers, family: ipv6}
    action: steer
    to: pao
    until: 2026-11-24T06:00:00Z
    reason: stale data at Singapore, ticket 4711
    by: noc
"""


def one(name: str = "x", **other: str) -> str:
    """A file with one override: freeze everything for ever, unless said otherwise."""
    keys = {"match": "{}", "action": "freeze", "until": "never", "reason": "r", "by": "b", **other}
    lines = [f"    {key}: {value}" for key, value in keys.items() if value != "-"]
    return "\n".join(["overrides:", f"  - name: {name}", *lines]) + "\n"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "policies/overrides.d").mkdir(parents=True)
    place(tmp_path, TWO_SITES, gtld=POLICY + ANOTHER)
    return tmp_path


def put(etc: Path, text: str | None = None, **files: str) -> Path:
    if text is not None:
        (etc / "policies/overrides.yaml").write_text(text)
    for name, each in files.items():
        (etc / f"policies/overrides.d/{name}.yaml").write_text(each)
    return etc / "steering.yaml"


def read(etc: Path, text: str | None = None, **files: str) -> Setup:
    return load(put(etc, text, **files))


def problems(etc: Path, text: str | None = None, **files: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        read(etc, text, **files)
    return caught.value.problems


def only(etc: Path, text: str | None = None, **files: str) -> Problem:
    (problem,) = problems(etc, text, **files)
    return problem


# --- what is taken --------------------------------------------------------------------------


def test_the_contracts_example_is_understood(etc: Path) -> None:
    setup = read(etc, ONE)
    assert setup.overrides == (
        Override(
            name="verisign-sin-migration",
            match=Match(upstream="gtld-servers", family=Family.IPV6),
            action=Action.STEER,
            to="pao",
            until=1795500000.0,
            reason="stale data at Singapore, ticket 4711",
            by="noc",
        ),
    )
    assert setup.override_files == {"verisign-sin-migration": etc / "policies/overrides.yaml"}
    assert setup.remarks == ()


def test_the_file_comes_first_and_the_directory_by_name(etc: Path) -> None:
    text = one("z") + one("y").removeprefix("overrides:\n")
    setup = read(etc, text, **{"20-b": one("b"), "10-c": one("c"), "30-a": one("a")})
    assert [o.name for o in setup.overrides] == ["z", "y", "c", "b", "a"]


def test_names_and_addresses_become_canonical(etc: Path) -> None:
    match = "{nameserver: A.GTLD-Servers.net, address: '2001:503:A83E:0::2:30'}"
    (override,) = read(etc, one(match=match)).overrides
    assert override.match == Match(nameserver="a.gtld-servers.net.", address="2001:503:a83e::2:30")


def test_one_that_has_ended_is_a_valid_one(etc: Path) -> None:
    (override,) = read(etc, one(until="1999-12-31T23:59:59Z")).overrides
    assert override.until == 946684799.0


@pytest.mark.parametrize(
    ("typed", "utc"),
    [
        ("2026-11-24T06:00:00Z", "2026-11-24T06:00:00Z"),
        ("2026-11-24t06:00:00z", "2026-11-24T06:00:00Z"),
        ("2026-11-24 06:00:00+08:00", "2026-11-23T22:00:00Z"),
        ("2026-11-24T06:00:00.5-05:30", "2026-11-24T11:30:00.500000Z"),
    ],
)
def test_a_time_is_what_its_offset_says(typed: str, utc: str) -> None:
    assert rfc3339(moment(typed)) == utc
    assert moment(utc) == moment(typed)


def test_a_time_that_rounds_beyond_the_last_year_is_refused() -> None:
    for typed in ("9999-12-31T23:59:59.999999Z", "9999-12-31t23:59:59.9999999z"):
        with pytest.raises(ValueError, match="is no time"):
            moment(typed)
    assert rfc3339(moment("9999-12-31T23:59:59Z")) == "9999-12-31T23:59:59Z"


@pytest.mark.parametrize("directory", [True, False])
def test_without_files_there_are_no_overrides(etc: Path, directory: bool) -> None:
    if not directory:
        (etc / "policies/overrides.d").rmdir()
    assert read(etc).overrides == ()


def test_drafts_and_what_editors_leave_are_not_read(etc: Path) -> None:
    folder = etc / "policies/overrides.d"
    for name in (".a.draft", ".b.yaml", "c.yaml~", "d.yaml.swp", "#e.yaml#", "README"):
        (folder / name).write_text("overrides: [")
    assert read(etc).overrides == ()


def test_a_text_may_stand_for_a_file_before_it_is_there(etc: Path) -> None:
    config = put(etc, a=one("a"))
    folder = etc / "policies/overrides.d"
    tried = load(config, instead={folder / "b.yaml": one("b"), folder / "a.yaml": None})
    assert [o.name for o in tried.overrides] == ["b"]
    assert [o.name for o in load(config).overrides] == ["a"]
    with pytest.raises(ConfigError, match=r"b\.yaml:2: overrides\[0\]\.name: a is there already"):
        load(config, instead={folder / "b.yaml": one("a")})


TEXTS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)


@given(reason=TEXTS, name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True))
def test_what_is_written_is_read_as_the_same(reason: str, name: str) -> None:
    text = write({"overrides": [{"name": name, "match": {"upstream": name}, "reason": reason}]})
    entry = {"name": name, "match": {"upstream": name}, "reason": reason}
    assert parse(text, Path("x")).values == {"overrides": [entry]}


# --- what is refused ------------------------------------------------------------------------

WRONG = [
    ({"until": "-"}, 2, "until", ["is missing", "When it ends", "never"]),
    ({"reason": "-"}, 2, "reason", ["is missing"]),
    ({"by": "-"}, 2, "by", ["is missing"]),
    ({"match": "-"}, 2, "match", ["is missing", "every address"]),
    ({"match": ""}, 3, "match", ["is empty", "a mapping"]),
    ({"action": "-"}, 2, "action", ["is missing"]),
    ({"action": "drop"}, 4, "action", ['"drop"', "steer, local, freeze, avoid or acknowledge"]),
    ({"action": "steer"}, 2, "to", ["is missing", "the site to steer"]),
    ({"action": "avoid"}, 2, "to", ["is missing", "the site to avoid"]),
    ({"to": "pao"}, 8, "to", ["has no meaning with action: freeze"]),
    ({"action": "steer", "to": "poa"}, 8, "to", ["no remote site", "did you mean pao?"]),
    ({"action": "steer", "to": "sin"}, 8, "to", ["this site itself"]),
    ({"action": "steer", "to": "local"}, 8, "to", ["no remote site"]),
    ({"until": "2026-11-24T06:00:00"}, 5, "until", ["RFC 3339", "offset", "or never"]),
    ({"until": "2026-11-24"}, 5, "until", ["RFC 3339"]),
    ({"until": "tomorrow"}, 5, "until", ['"tomorrow"', "RFC 3339"]),
    ({"until": "2h"}, 5, "until", ["RFC 3339"]),
    ({"until": "2026-02-30T06:00:00Z"}, 5, "until", ["day is out of range"]),
    ({"until": "0001-01-01T00:00:00+23:59"}, 5, "until", ["is no time"]),
    ({"until": "1795500000"}, 5, "until", ["is 1795500000", "wanted a time"]),
    ({"until": ""}, 5, "until", ["is empty", "or never"]),
    ({"reason": "''"}, 6, "reason", ["a line of text"]),
    ({"reason": '"a\\nb"'}, 6, "reason", ["a line of text"]),
    ({"match": "{upstraem: x}"}, 3, "match.upstraem", ["did you mean upstream?"]),
    ({"match": "{address: 192.5.6.0/24}"}, 3, "match.address", ["is no address"]),
    ({"match": "{family: ipv5}"}, 3, "match.family", ["ipv4 or ipv6"]),
    ({"match": "{nameserver: a..b}"}, 3, "match.nameserver", ["empty label"]),
    ({"match": "{site: sni}"}, 3, "match.site", ["no site", "did you mean sin?"]),
    ({"untill": "never"}, 8, "untill", ["did you mean until?"]),
]


@pytest.mark.parametrize(("other", "line", "path", "parts"), WRONG)
def test_what_is_wrong_is_said_at_its_line(
    etc: Path, other: dict[str, str], line: int, path: str, parts: list[str]
) -> None:
    problem = only(etc, x=one(**other))
    assert problem.file == etc / "policies/overrides.d/x.yaml"
    assert (problem.line, problem.path) == (line, f"overrides[0].{path}")
    for part in parts:
        assert part in problem.message


@pytest.mark.parametrize("name", ["a/b", "../x", ".x", "''", "a b", "x" * 64, "7"])
def test_a_name_is_a_word_that_can_be_a_files(etc: Path, name: str) -> None:
    assert only(etc, one(name)).path == "overrides[0].name"


def test_a_key_that_is_there_twice_is_refused(etc: Path) -> None:
    problem = only(etc, ONE + "    action: local\n")
    assert (problem.line, problem.path) == (9, "overrides[0].action")
    assert "a second time (first in line 4)" in problem.message


def test_a_name_is_there_once_in_all_files(etc: Path) -> None:
    problem = only(etc, one("x"), y=one("x"))
    assert (problem.file.name, problem.path) == ("y.yaml", "overrides[0].name")
    assert "overrides.yaml:2" in problem.message


def test_every_problem_of_every_file_comes_at_once(etc: Path) -> None:
    (etc / "policies/gtld.yaml").write_text(POLICY + ANOTHER + "skew: 1\n")
    found = [
        (p.file.name, p.line)
        for p in problems(
            etc, one(until="soon", by="-"), a="overrides: [\n", b=one("b", action="steer", to="x")
        )
    ]
    assert found == [
        ("gtld.yaml", 6),
        ("a.yaml", 2),
        ("b.yaml", 8),
        ("overrides.yaml", 2),
        ("overrides.yaml", 5),
    ]


@pytest.mark.parametrize("length", range(len(ONE)))
def test_half_a_file_is_never_taken_for_less_than_it_says(etc: Path, length: int) -> None:
    """Written in place by an editor, it may be seen at any length: refused, or nothing lost."""
    file = put(etc, x=ONE[:length])
    try:
        (override,) = load(file).overrides
    except ConfigError:
        return
    assert (override.name, override.to) == ("verisign-sin-migration", "pao")
    assert ONE[:length].endswith(("by: n", "by: no", "by: noc"))


def test_an_empty_list_is_a_word_and_an_empty_file_is_none(etc: Path) -> None:
    assert read(etc, "overrides: []\n").overrides == ()
    assert "is empty" in only(etc, "").message
    assert "is empty" in only(etc, "# nothing\n").message
    assert "wanted a list" in only(etc, "overrides:\n").message
    assert "wanted a list" in only(etc, "overrides: {}\n").message


def test_a_directory_that_cannot_be_listed_is_not_an_empty_one(etc: Path) -> None:
    (etc / "policies/overrides.d").rmdir()
    (etc / "policies/overrides.d").write_text("")
    problem = only(etc)
    assert problem.file.name == "overrides.d"
    assert "cannot be listed" in problem.message


def test_a_link_that_leads_nowhere_is_not_nothing(etc: Path) -> None:
    (etc / "policies/overrides.yaml").symlink_to(etc / "nowhere")
    (etc / "policies/overrides.d/x.yaml").symlink_to(etc / "nowhere")
    assert {p.file.name for p in problems(etc)} == {"overrides.yaml", "x.yaml"}


def test_a_file_by_another_ending_is_not_overlooked(etc: Path) -> None:
    (etc / "policies/overrides.d/x.yml").write_text(ONE)
    assert "wanted .yaml" in only(etc).message


def test_an_override_for_another_site_may_lead_here(etc: Path) -> None:
    setup = read(etc, one(match="{site: pao}", action="steer", to="sin"))
    assert [o.to for o in setup.overrides] == ["sin"]
    assert setup.remarks == (), "it is not for us to remark on"


# --- what is remarked on --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "path", "said"),
    [
        ("{upstream: gtld-server}", "match.upstream", "did you mean gtld-servers?"),
        ("{nameserver: z.gtld-servers.net}", "match.nameserver", "did you mean"),
        ("{address: 203.0.113.7}", "match.address", "in no policy"),
        ("{address: 192.5.6.30, family: ipv6}", "match", "fits all its keys"),
        ("{site: sin, upstream: nobody}", "match.upstream", "in no policy"),
    ],
)
def test_one_that_matches_nothing_is_taken_and_remarked_on(
    etc: Path, match: str, path: str, said: str
) -> None:
    setup = read(etc, one(match=match))
    assert len(setup.overrides) == 1
    (remark,) = setup.remarks
    assert (remark.path, remark.line) == (f"overrides[0].{path}", 3)
    assert remark.message.startswith("matches nothing")
    assert said in remark.message


def test_a_steer_to_where_no_next_hop_leads_is_remarked_on(etc: Path) -> None:
    (remark,) = read(etc, one(action="steer", to="fra")).remarks
    assert remark.message == (
        "fra has no next hop for ipv6: 1 of 3 addresses can't be steered there"
    )
    assert read(etc, one(match="{family: ipv4}", action="steer", to="fra")).remarks == ()


# --- watching -------------------------------------------------------------------------------


def test_the_fingerprint_tells_of_overrides(etc: Path) -> None:
    config = put(etc)
    seen = [fingerprint(config)]
    put(etc, one())
    seen.append(fingerprint(config))
    put(etc, y=one("y"))
    seen.append(fingerprint(config))
    (etc / "policies/overrides.d/y.yaml").unlink()
    seen.append(fingerprint(config))
    (etc / "policies/overrides.d").rmdir()
    seen.append(fingerprint(config))
    assert all(before != after for before, after in itertools.pairwise(seen))


def test_one_file_can_be_checked_by_itself() -> None:
    (entry,) = check(Overrides, parse(ONE, Path("x.yaml"))).overrides
    assert entry.to == "pao"
    assert Overrides.model_validate_json(
        Overrides(overrides=(entry,)).model_dump_json()
    ).overrides == (entry,)
