"""Who else is known to set and match packet marks, and in which bits.

A mark is shared by all that runs on a host: what one program means by a bit another may take for
its own word to masquerade the packet. So the usual marks keep clear of these, and where an operator
chose others, it is said whose bits they are.
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
    """The one mark it sets, in all of these bits; None: it sets each of them as it needs."""


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
    # OUTBOUND_MARK, 1337, of istio's TPROXY mode, which is matched whole.
    User(name="Istio", bits=bounds.U32, value=1337),
    # AWS_VPC_K8S_CNI_CONNMARK.
    User(name="AWS VPC CNI", bits=0x80),
)


def shared_with(claim: Claim) -> tuple[str, ...]:
    """The known users of bits or marks that this claim takes, each with its bits."""
    return tuple(_said(user) for user in USERS if _meet(user, claim))


def _meet(user: User, claim: Claim) -> bool:
    if user.value is None:
        return bool(user.bits & claim.mask)
    return user.value & claim.mask in claim.marks


def _said(user: User) -> str:
    bits = user.bits if user.value is None else user.value
    return f"{user.name} ({bits:#x})"


def collision(mark: int, mask: int, claim: Claim) -> str | None:
    """Why a rule of another that matches this mark under this mask meets ours; None: it does not.

    A packet can carry both marks where they agree in the bits that both look at. Where they look
    at no bit in common, only a packet that both of them marked meets both, and it is meant to.
    """
    common = mask & claim.mask
    for ours in claim.marks if common else ():
        if (mark ^ ours) & common:
            continue
        if ours & mask == mark:
            return f"it catches our mark {ours:#x}"
        return f"its mark {mark:#x}/{mask:#x} is also our mark {ours:#x}/{claim.mask:#x}"
    return None
