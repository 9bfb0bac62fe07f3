"""Addresses that questions may be sent to: any http(s) URL but a cloud's metadata service.

Clouds serve the credentials of the machine that asks on a few fixed addresses, most of them
link-local. They are refused: as an address, by name, and as what a name resolves to. This machine
and private networks are allowed. Behind a proxy, which resolves names itself, a name is checked
only if it resolves here too.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from core.errors import UserError

METADATA_NAMES = ("metadata.google.internal", "metadata.goog")
METADATA_NETWORKS = [
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: AWS, Azure, Google, Oracle, OpenStack
        "fe80::/10",
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's host
        "192.0.0.192/32",  # Oracle
    )
]
NAT64 = ip_network("64:ff9b::/96")
REFUSED = (
    "is the metadata service of a cloud, which hands out the machine's keys, not an endpoint. "
    "Give the address of a language model."
)

Address = IPv4Address | IPv6Address


def checked(url: str, key: str) -> str:
    """The URL of an endpoint, without a slash at its end.

    `ValueError`, which never repeats the URL, where it is none, contains a key (`key` names the
    variable for it), or names a metadata service.
    """
    if "@" in url:
        raise ValueError(f"the url contains a name or key; set ${key} instead")
    if not url.startswith(("http://", "https://")):
        raise ValueError("the url must start with http:// or https://")
    if "?" in url or "#" in url:
        raise ValueError(f"the url ends at its path; a key belongs in ${key}")
    host = _host(url)
    if _is_metadata(host, _literal(host)):
        raise ValueError(f"{host} {REFUSED}")
    return url.rstrip("/")


def refuse_metadata(host: str) -> None:
    """`UserError` where a host, or any address that it resolves to, is a metadata service."""
    if _is_metadata(host, _resolved(host)):
        raise UserError(f"{host} {REFUSED}")


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises where it is no number
    except ValueError as error:
        raise ValueError("the url is not an address such as https://host/v1") from error
    if not host:
        raise ValueError("the url names no host")
    return host


def _is_metadata(host: str, addresses: list[Address]) -> bool:
    forms = [form for address in addresses for form in _forms(address)]
    return host.rstrip(".").lower() in METADATA_NAMES or any(
        form in network for form in forms for network in METADATA_NETWORKS
    )


def _forms(address: Address) -> list[Address]:
    """An address, and the IPv4 addresses that an IPv6 one embeds."""
    if isinstance(address, IPv4Address):
        return [address]
    inner: list[Address] = [form for form in (address.ipv4_mapped, address.sixtofour) if form]
    if address in NAT64:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *inner]


def _literal(host: str) -> list[Address]:
    try:
        return [ip_address(host)]
    except ValueError:
        return []


def _resolved(host: str) -> list[Address]:
    """The addresses of a name, or of a number in any spelling; none where it is unknown here."""
    try:
        places = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ip_address(str(place[0])) for *_, place in places]
