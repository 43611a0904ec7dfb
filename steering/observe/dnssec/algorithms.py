"""The DNSSEC algorithms that count, and which of them this host can verify.

A cryptographic library may refuse an algorithm: SHA-1 by the policy of the distribution, the
Edwards curves in FIPS mode. Some refusals look like a bad signature, so every answer would seem
bad. Therefore each algorithm is tried once on a signature that is known to be good. Nothing is
judged by an algorithm that fails this, and the reason is reported.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

import dns.dnssec
import dns.exception
import dns.name
import dns.node
import dns.rdata
import dns.rdataset
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.RRSIG
import dns.rrset
from cryptography.exceptions import InternalError, UnsupportedAlgorithm

from steering.observe.dnssec.trust import name_of

ALGORITHMS: Final = frozenset({5, 7, 8, 10, 13, 14, 15, 16})
"""The algorithms that a validator must or may implement (RFC 8624 3.1). In a zone that is secure by
one of these, signatures by other algorithms are ignored (RFC 4035 2.2, RFC 6840 5.4)."""

REFUSALS: Final = (dns.exception.UnsupportedAlgorithm, UnsupportedAlgorithm, InternalError)
"""What the library raises for a refused algorithm, unless it reports a bad signature."""

DNSKEY = dns.rdtypes.ANY.DNSKEY.DNSKEY
RRSIG = dns.rdtypes.ANY.RRSIG.RRSIG

_SIGNER: Final = "steering."
_NEVER: Final = float("nan")


@functools.cache
def refused() -> frozenset[int]:
    """The algorithms that this host can't verify. Takes some milliseconds, once."""
    return frozenset(algorithm for algorithm in ALGORITHMS if not _works(algorithm))


def refusal(algorithm: int) -> str:
    """The text for an algorithm that this host can't verify."""
    return f"this host's cryptographic library refuses algorithm {algorithm}"


def _works(algorithm: int) -> bool:
    """Whether a good signature verifies."""
    key, signature = _KNOWN[algorithm]
    signer = name_of(_SIGNER)
    dnskey = dns.rdata.from_text("IN", "DNSKEY", f"256 3 {algorithm} {key}")
    assert isinstance(dnskey, DNSKEY)
    tag = dns.dnssec.key_id(dnskey)
    text = f"A {algorithm} 1 0 1 0 {tag} {_SIGNER} {signature}"
    rrsig = dns.rdata.from_text("IN", "RRSIG", text)
    assert isinstance(rrsig, RRSIG)
    rrset = dns.rrset.from_text(signer, 0, "IN", "A", "192.0.2.1")
    keys: dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset] = {
        signer: dns.rdataset.from_rdata(0, dnskey)
    }
    try:
        dns.dnssec.validate_rrsig(rrset, rrsig, keys, None, _NEVER)
    except (*REFUSALS, dns.exception.DNSException, ValueError):
        return False
    return True


_RSA: Final = (
    "AwEAAY6Osj5g7hWl+Z0gFgqOs8B/YS56ruXBHrWSortQtgKynjyvKjDPOrfvTBVsnryOnUu1ePX3+PrEBjwWZD"
    "FJwFsIHx2waEGcE6nGumc6vBKdREhlBnEvo/8Mnz/RRT0zsfCIenvvc5gpVHTDHzSBMTjrlfh/oPEs3Ve6OM65"
    "Hqp+UIsyZQGDCbHQvPJYR+HsNKX45m/Vfl2IB3XcKZSvU7ypE6nZLDvOxMRTbfBwViRSAx4boc4E/OvC4HYdsD"
    "PEb9SD/2bGp7uzvVVTSwUGge00XHcbwnVDN35v7T+28HNq5ZFz2x/AojPDb+IpwS97mMAuF5J0cYyxnu1hNG9v"
    "c6U="
)
_KNOWN: Final[Mapping[int, tuple[str, str]]] = {
    5: (  # RSASHA1 (RFC 3110)
        _RSA,
        (
            "H1CSGQdm5nSrpPOCtqHDStXlRahA1GMcSH+TPBcByrtJWIW2Wvup/ZlMEJzobE5nGjt1tnQ9oo5Dc2"
            "q+GOr6O+F+AZ1meiKBwUTbJb4pB7OlY8fKOZr6oJDl6KltsVwdqmKr3xkWSrVVEJPo1Ic+gbdPDaya"
            "hE/mpzJfUOQyZGZuawcKhKT8FT6dcHvdnXH5ARUkw2TfA6B7EM/iRSByFXJkOOQMXRMy9AoQOwf7fc"
            "oJ/xL7BY3Ltxmc4TV3ib0YvKaaYeh57fONQuuYh6fCUGxW9mi+b4nO4o5BjK3uFO3oOtPUy4SqkeSz"
            "KUxugo1sYz3jDVBlXIYONzlEnoVoqg=="
        ),
    ),
    7: (  # RSASHA1-NSEC3-SHA1 (RFC 5155)
        _RSA,
        (
            "jJRj7Y22apL2BZz/BaGAlOwruuuChaEBUNn4SYpsZ409O13wwKDIlEOO+NmYZRTVNEA6FFwhVJ5fSt"
            "4yajnuytGooYehgijWQhmPia8l1fahctk36+ND/5MtkQnPR8CHPamm2ZnBuub6Vk0Lr8vGNDZHG62e"
            "b1s0PuntoNPrHsKHZLwKtGfWhKk1RktzYRquGUNgoLnHmVYDo4aCHzQMZEEv/ApkcKkKGHnKkff3xk"
            "+3BhZbiSt+WW81sZs59CIbpjoaZc2Xjs5V5nzVcQjmvGMw4rj7eWqLItvuQ938+Ave+B8LQCG7QTK0"
            "Bq2HrW/s6HuRIHSl4SBoUH94Vh6Gbg=="
        ),
    ),
    8: (  # RSASHA256 (RFC 5702)
        _RSA,
        (
            "Hg110M1Zf7YAMEtC8q3u1vihKSLukmQwMNEcK2buEbi3+PkISoy7m/7P76YtOtrMPvuBBRz9TPpR2L"
            "5qdFMXnonCe5mVNXtXljEFMJC/o5TW2VdrxIBv/DggMwR6cAtjS3roQ5RFt3yGxdkL2/Ov68ut0ZT6"
            "xrdtchA0UByKFVFqClkx5LPUFZXz7gL8+W4Q7vqVLxNJu+CVkJgsgaSWqeSR2YYypRL+eHWjvpIYdY"
            "Q9xTsxaARHP3cD/YDx5XmvlrNdeZQtcXJ7mAKUj/tsCoa1YRAIZyHWezm0IztJef6O38wJOo3voqzz"
            "HKKhUGur8Wf59vbYiQ3zZwvtpiR1oA=="
        ),
    ),
    10: (  # RSASHA512 (RFC 5702)
        _RSA,
        (
            "OtvN7Uds1vJ9l1SgOQCt1DUQMyAWAHOeTlnY6K7qvL63agaGEvSoXdktDuhttg+v8B1KkRXoxIu54y"
            "JCkLDEeMHQMAzyGf72F3Fa2+JVhETAipNhPTyW5fHpgoaewpv2UjGsAgeoVTwx7+dJM3eKl1U+FQUE"
            "NbKX8glhp1LOH2l4LhwDtHaPntjqL5IiEtaOFV00vgViiEtZvKWK1RTaEU/c/D3/LjP7G3RG/GCEAO"
            "cZg0kYJkZ5kfWmJucL+JXtQdyl6FynPufSgUAptcqMubgsEyj8tQn/ltiEJ45wF/9OCNNyCKb2o7PN"
            "Oqb1R2+OwV8d45gXRD9VMA2xpdyC+w=="
        ),
    ),
    13: (  # ECDSAP256SHA256 (RFC 6605)
        (
            "6Ny9L6/y05WHKP5jYJGtlFEtiZplQ/n4wd4mfxNFh+3XU4v5M9uIla8Znm8GyYqjtxpt6dyB+YOQ16"
            "zliMY6gg=="
        ),
        (
            "BW93F1RFxMdxlQ+TVrJEYWq/i89qtE4WVb/yTaBLpGnExgstN9hZd5l/Zcwx0OJBmgR/V4XjbHHAF6"
            "Mr3CO6Fg=="
        ),
    ),
    14: (  # ECDSAP384SHA384 (RFC 6605)
        (
            "vcKsKjD7FrRgXpXy1h5SnTOwUzIfnbXjWIU3fFmQZdzvid5ETeuSitMYReTeRnb7k5wwxj+RQJLFwE"
            "egps4AaN00QCuIxtVcku8fCPN7SNqE7ia5b9jX6lIaK24aqWOd"
        ),
        (
            "DeMJ3FodWRRp6EMGyti+Okgl4nqtFvSMKOucDaLjY79hTjT02iuO6/u+FepOE6ccdk0IHMwZ6qIYR3"
            "jD+6Cdh2xUcH2O83+ClqMmtRTRJnoSHtjCLqDi6jeljVRsesQ7"
        ),
    ),
    15: (  # ED25519 (RFC 8080)
        "XBQaAUxBrE7b2/ihoGEEd34DwI99sa6VAwR4mM/BWDI=",
        (
            "PSxwA0IF3vCZYOcEsWU4Wfr55lPLn4vewHXOI4udA9uKMAoFJukPWVhXgtOEjYILytnXSKwFaSjpjh"
            "4+j8ZUBg=="
        ),
    ),
    16: (  # ED448 (RFC 8080)
        "B/a44BPjIM/ubMcsg9/KdQi6Tdqz1oQQCx7kw0rKj90J1q+IOK6p5YvyMzcmOJNV+KzONPugSlIA",
        (
            "ftk8fZBR2FUowhpxNRxcA6xEzquUZxr3+l1GllivAS4Bjb30IJQE8xUnHuS2rwWP5Pe2+xV1HB+AAG"
            "cy0EZ0ztnrGD261wGI0IJOXAbznlvCxiQ4xqRDt0CfA9RaV4eVterzqPaGGWSNnksx/CkcwzEA"
        ),
    ),
}
"""Key and signature over ``steering. 0 IN A 192.0.2.1``; the private keys were discarded."""
