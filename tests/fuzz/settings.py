"""The resolvers' own configuration, as `steering check` reads it: of whoever may write there."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fuzz.driver import Driver, Wrong
from fuzz.octets import TELLING, mangled
from steering.config.resolvers import BindControl, KnotControl, PowerDnsControl, UnboundControl
from steering.resolver_settings import dangers
from steering.resolver_settings.dangers import MOST_DANGERS

_UNBOUND: Final = """\
server: # a comment
  module-config: "validator iterator"
include-toplevel: 'conf.d/*.conf'
auth-zone:
  name: "."
  url: https://x.example/root.zone
  zonefile: root.zone
  fallback-enabled: no
stub-zone: name: . stub-addr: 127.0.0.1@5300
include: "main.conf"
"""
_BIND: Final = """\
/* a comment */ options { directory "/x"; dnssec-validation no; }; // one more
include "main.conf";
view "v" { zone "." in { type mirror; min-refresh-time 2d; }; };
zone . { type primary; file "root.zone"; };
"""
_LUA: Final = """\
-- a comment
--[[ another ]] zoneToCache(".", "file", '/r', { refreshPeriod = 24 * 60 * 60, zonemd="ignore" })
modules = { prefill = { ['.'] = { url = [==[x]==], interval = 1 * day } } }
prefill.config{['.'] = { interval = f(x) }} dofile('main.conf') trust_anchors.set_insecure({'.'})
"""
_CONF: Final = (
    "dnssec=off # x\nauth-zones+=a=/a, \\\n.=/r\nlua-config-file=main.conf\ninclude-dir=.\n"
)
_YAML: Final = """\
recordcache:
  zonetocaches: [{zone: ., method: file, sources: [/r], zonemd: ignore, refreshPeriod: 0}]
dnssec: {validation: off}
recursor: {include_dir: ., lua_config_file: main.conf, auth_zones: [{zone: ., file: /r}]}
"""
_KINDS: Final = (
    (UnboundControl, _UNBOUND),
    (BindControl, _BIND),
    (KnotControl, _LUA),
    (PowerDnsControl, _CONF),
    (PowerDnsControl, _YAML),
)


class Settings(Driver):
    """A message is which resolver it is, and its main file, which may include itself."""

    splinters = (
        *(*TELLING, b"{", b"}", b"(", b")", b"[[", b"]]", b"--[=[", b"/*", b"*/", b"//", b"#"),
        *(b'"', b"'", b"\\", b";", b":", b"=", b"\n", b"include ", b"dofile(", b"{" * 3000),
        *(b"[" * 3000, b"\0", b"\xff", b"*" * 100, b"1*" * 2000, b"9" * 5000, "é\u2028".encode()),
    )

    def __init__(self, _seed: int) -> None:
        super().__init__()
        place = self.closing.enter_context(tempfile.TemporaryDirectory(prefix="steering-fuzz-"))
        self._file = Path(place) / "main.conf"

    def seeds(self) -> Sequence[bytes]:
        return [bytes([number]) + text.encode() for number, (_, text) in enumerate(_KINDS)]

    def message(self, draw: random.Random) -> bytes:
        seed = draw.choice(self.seeds())
        return seed[:1] + mangled(draw, seed[1:], self.splinters)

    def take(self, message: bytes) -> None:
        kind, _ = _KINDS[message[0] % len(_KINDS)] if message else _KINDS[0]
        self._file.write_bytes(message[1:])
        found = dangers(kind, self._file, ".")
        if len(found) > MOST_DANGERS or not all(str(danger).isprintable() for danger in found):
            raise Wrong(found)
