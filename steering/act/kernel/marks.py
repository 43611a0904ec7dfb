"""Other programs that set and match packet marks, and the bits that they use.

All programs of a host share the bits of a mark: a bit that one program sets may make another
masquerade the packet. So the default marks avoid the bits of these programs. If an operator
configured others, preflight reports whose bits they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from steering import bounds
from steering.act.kernel.claim import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A program that marks packets."""

    name: str
    bits: int
    value: int | None = None
    """The one mark it sets, in all of these bits; None: it may set each bit."""


USERS = (
    # pkg/proxy in kubernetes: masqueradeBit 14, which is 0x4000, and KUBE-MARK-DROP's 0x8000.
    User(name="kube-proxy", bits=0xC000),
    # MagicMarkHostMask in pkg/datapath/linux/linux_defaults of cilium.
    User(name="Cilium", bits=0x0F00),
    # FelixConfiguration: iptablesMarkMask, 0xffff0000 if left out.
    User(name="Calico", bits=0xFFFF0000),
    # fwmarkMask in util/linuxfw of tailscale.
    User(name="Tailscale", bits=0xFF0000),
    # mmx_mask in mwan3's configuration.
    User(name="mwan3", bits=0x3F00),
    # OUTBOUND_MARK, 1337, of istio's TPROXY mode, which is matched in all bits.
    User(name="Istio", bits=bounds.U32, value=1337),
    # AWS_VPC_K8S_CNI_CONNMARK.
    User(name="AWS VPC CNI", bits=0x80),
)


def shared_with(claim: Claim) -> tuple[str, ...]:
    """The programs above that use bits or marks of this claim, each with its bits."""
    return tuple(_text(user) for user in USERS if _overlap_with(user, claim))


def _overlap_with(user: User, claim: Claim) -> bool:
    if user.value is None:
        return bool(user.bits & claim.mask)
    return user.value & claim.mask in claim.marks


def _text(user: User) -> str:
    bits = user.bits if user.value is None else user.value
    return f"{user.name} ({bits:#x})"


def collision(mark: int, mask: int, claim: Claim) -> str | None:
    """Why a foreign rule with this mark and mask can match our packets; None: it can't.

    A packet can match both rules if the marks agree in the bits of both masks. If the masks have no
    bit in common, only a packet that both programs marked matches both, which is intended.
    """
    common = mask & claim.mask
    for ours in claim.marks if common else ():
        if (mark ^ ours) & common:
            continue
        if ours & mask == mark:
            return f"it catches our mark {ours:#x}"
        return f"its mark {mark:#x}/{mask:#x} is also our mark {ours:#x}/{claim.mask:#x}"
    return None
