"""Domain names as people type them and as name servers want them."""

from __future__ import annotations

import dns.exception
import dns.name

LABELS_MIN = 2
NAME_LENGTH_MAX = 253


class BadName(ValueError):
    """What was typed is no domain name."""


def ascii_name(typed: str) -> str:
    """
    `Corp.com.`, `www.例子.com` as name servers know them: lower case, no dot at the end, `xn--` for other scripts.

    What people paste along is taken off: a scheme, a path, what stands before an @. Raises BadName.
    """
    bare = typed.strip().partition("://")[2] or typed.strip()
    bare = bare.rpartition("@")[2].partition("/")[0].strip(" .。．").replace("。", ".").replace("．", ".")
    try:
        name = dns.name.from_text(bare, idna_codec=dns.name.IDNA_2008_Practical)
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        raise BadName(typed) from error
    text = name.to_text(omit_final_dot=True).lower()
    labels = text.split(".")
    if len(labels) < LABELS_MIN or len(text) > NAME_LENGTH_MAX or not all(is_label(each) for each in labels):
        raise BadName(typed)
    if labels[-1].isdigit():  # an IP address
        raise BadName(typed)
    return text


def is_label(label: str) -> bool:
    """Letters, digits, hyphens inside; an underscore too, as in `_dmarc`."""
    bare = label.replace("-", "").replace("_", "")
    return bool(bare) and bare.isascii() and bare.isalnum() and not label.startswith("-") and not label.endswith("-")


def shown_name(name: str) -> str:
    """A name as people read it: `例子.com` for `xn--…`."""
    try:
        return dns.name.from_text(name).to_unicode(omit_final_dot=True, idna_codec=dns.name.IDNA_2008_Practical)
    except (dns.exception.DNSException, UnicodeError):
        return name


def parent_of(name: str) -> str:
    """`com` for `corp.com`; the empty name is the root."""
    return name.partition(".")[2]


def is_within(name: str, zone: str) -> bool:
    """Whether a name is a zone's own or lies below."""
    return not zone or name == zone or name.endswith(f".{zone}")


def host_in(name: str, zone: str) -> str:
    """A name as a zone's form wants it: `@` for the zone itself, `_dmarc` for `_dmarc.corp.com`."""
    return "@" if name == zone else name.removesuffix(f".{zone}")


def full_name(host: str, zone: str) -> str:
    """The whole name of a host in a zone's form."""
    return zone if host in ("@", "") else f"{host}.{zone}"
