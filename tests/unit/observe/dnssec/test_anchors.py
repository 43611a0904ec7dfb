"""Trust anchor files: what is taken, what is refused, and where it says so."""

from __future__ import annotations

from pathlib import Path

import dns.name
import pytest
from signedzone import Key

from steering.observe.dnssec import anchors
from steering.observe.dnssec.anchors import AnchorError

ROOT = dns.name.root
DS = "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"


def test_the_root_anchors_are_those_of_iana() -> None:
    held = anchors.built_in()
    assert list(held) == ["."]
    assert {ds.key_tag for ds in held["."].ds} == {20326, 38696}


@pytest.mark.parametrize(
    "line",
    [
        f". IN DS {DS}",
        f".\t172800\tIN\tDS\t{DS}",
        f". IN 172800 DS {DS} ; a comment",
        f". DS {DS}",
        f"; first a comment\n\n   ; indented\n. IN DS ( 20326 8 2\n {DS.split()[3]} )",
    ],
)
def test_records_in_zone_file_form_are_read(line: str) -> None:
    held = anchors.parse(line + "\n", source="x")
    assert held["."].ds[0].key_tag == 20326


def test_keys_of_any_zone_are_read_and_revoked_ones_left_out() -> None:
    key, revoked = Key(257), Key(257 | 0x80)
    text = f"Example.COM. IN DNSKEY {key.dnskey}\nexample.com. IN DNSKEY {revoked.dnskey}\n"
    held = anchors.parse(text, source="x")
    assert held["example.com."].dnskey == (key.dnskey,)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("; nothing but a comment\n", 1),
        (f". IN DS {DS}\n. IN DS 20326 8 2 E06D\n", 2),
        (f". IN DS {DS}\n\n. IN A 192.0.2.1\n", 3),
        (". IN DS\n", 1),
        (". IN DNSKEY 257 3 8 !!!\n", 1),
        (". IN DNSKEY 1 3 8 AwEAAQ==\n", 1),
        (" IN DS 1 2 3\n", 1),
        ("$INCLUDE other\n", 1),
        ('. IN DS "20326\n', 1),
        ("-----BEGIN CERTIFICATE-----\n", 1),
        (". IN DS 99999 8 2 AA\n", 1),
    ],
)
def test_rubbish_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(AnchorError, match=rf"^root\.key:{line}: .*wanted"):
        anchors.parse(text, source="root.key")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "none.key", tmp_path / "binary.key"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (missing, binary, tmp_path):
        with pytest.raises(AnchorError, match=str(path)):
            anchors.read(path)


def test_the_closest_enclosing_anchor_counts() -> None:
    text = f". IN DS {DS}\ncom. IN DS {DS}\nexample.com. IN DS {DS}\n"
    held = anchors.parse(text, source="x")
    for zone, at in {
        "www.example.com.": "example.com.",
        "example.com.": "example.com.",
        "xample.com.": "com.",
        "net.": ".",
        ".": ".",
    }.items():
        found = anchors.closest(held, dns.name.from_text(zone))
        assert found is not None
        assert found.zone == at, zone
    assert anchors.closest({"com.": held["com."]}, ROOT) is None
