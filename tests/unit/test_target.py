"""Path, root path, and whose word is taken for who the client is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shardserve.gateway.target import TrustedProxies, decode_path, split_root
from shardserve.http.request import Request


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        (b"/", b"/"),
        (b"/a%20b", b"/a b"),
        (b"/%C3%a9", b"/\xc3\xa9"),
        (b"/%2F", b"//"),
        (b"/%2e%2e/", b"/../"),
        (b"/%25%32%35", b"/%25"),
        (b"/%zz%4", b"/%zz%4"),
        (b"/a+b", b"/a+b"),
        (b"/%00", b"/\x00"),
        (b"/%", b"/%"),
    ],
)
def test_a_path_is_decoded_once(path: bytes, decoded: bytes) -> None:
    assert decode_path(path) == decoded


@pytest.mark.parametrize(
    ("path", "root", "split"),
    [
        ("/a", "", ("", "/a")),
        ("/a", "/app", ("/app", "/a")),
        ("/app/a", "/app", ("/app", "/a")),
        ("/app", "/app", ("/app", "")),
        ("/app/", "/app", ("/app", "/")),
        ("/apples", "/app", ("/app", "/apples")),
        ("/app/app/a", "/app", ("/app", "/app/a")),
        ("/", "/app", ("/app", "/")),
        ("/b/app/a", "/app", ("/app", "/b/app/a")),
    ],
)
def test_a_path_is_split_at_the_root_path_whether_the_proxy_strips_it_or_not(
    path: str, root: str, split: tuple[str, str]
) -> None:
    assert split_root(path, root) == split


def resolve(
    allowed: tuple[str, ...], peer: tuple[str, int] | None, *headers: tuple[bytes, bytes], scheme: str = "http"
) -> tuple[Any, str]:
    wire: Any = SimpleNamespace(client=peer, scheme=scheme)
    request = Request()
    request.headers = list(headers)
    request.forwarded = bool(headers)  # as read_request notes it
    return TrustedProxies(allowed).resolve(wire, request)


FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"
PROXY = ("10.0.0.1", 4000)


def test_a_peer_that_is_not_trusted_is_the_client_whatever_it_says() -> None:
    says = [(FOR, b"1.2.3.4"), (PROTO, b"https")]
    assert resolve(("127.0.0.1",), PROXY, *says) == (PROXY, "http")
    assert resolve((), PROXY, *says) == (PROXY, "http")


@pytest.mark.parametrize("allowed", ["10.0.0.1", "10.0.0.0/8", "*", "10.0.0.9/24"])
def test_the_word_of_a_trusted_peer_is_taken(allowed: str) -> None:
    says = [(FOR, b"1.2.3.4"), (PROTO, b"https")]
    assert resolve((allowed,), PROXY, *says) == (("1.2.3.4", 0), "https")


def test_without_the_fields_the_peer_is_the_client() -> None:
    assert resolve(("*",), PROXY) == (PROXY, "http")
    assert resolve(("*",), PROXY, scheme="https") == (PROXY, "https")
    assert resolve((), None) == (None, "http")


def test_a_peer_on_a_unix_socket_is_trusted() -> None:
    assert resolve((), None, (FOR, b"1.2.3.4"), (PROTO, b"https")) == (("1.2.3.4", 0), "https")


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ([b"1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        ([b"6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),  # what is left of a hop that we do not trust may be made up
        ([b"6.6.6.6", b"1.2.3.4", b"10.0.0.2"], "1.2.3.4"),  # one field a proxy is the same as one list
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"10.0.0.3,,10.0.0.2"], "10.0.0.2"),
        ([b""], "10.0.0.1"),
        ([b" 1.2.3.4\t"], "1.2.3.4"),
        ([b"1.2.3.4:5678"], "1.2.3.4"),
        ([b"[2001:db8::1]:5678"], "2001:db8::1"),
        ([b"[2001:db8::1]"], "2001:db8::1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"6.6.6.6, unknown"], "unknown"),
    ],
)
def test_the_client_is_the_nearest_hop_that_is_not_trusted(hops: list[bytes], client: str) -> None:
    found, _ = resolve(("10.0.0.0/8",), PROXY, *((FOR, hop) for hop in hops))
    assert found is not None
    assert found[0] == client


def test_with_every_peer_trusted_the_client_is_the_farthest_hop() -> None:
    assert resolve(("*",), PROXY, (FOR, b"1.1.1.1, 2.2.2.2"), (FOR, b"3.3.3.3"))[0] == ("1.1.1.1", 0)


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        ([b"https"], "https"),
        ([b"HTTPS"], "https"),
        ([b" http "], "http"),
        ([b"http, https"], "https"),
        ([b"http", b"https"], "https"),
        ([b"gopher"], "http"),
        ([b""], "http"),
        ([b"https\x00"], "http"),
    ],
)
def test_the_scheme_is_the_nearest_proxys_word_and_one_of_two(values: list[bytes], scheme: str) -> None:
    assert resolve(("*",), PROXY, *((PROTO, value) for value in values))[1] == scheme


def test_a_dual_stack_listeners_ipv4_peer_is_found_in_an_ipv4_network() -> None:
    proxies = TrustedProxies(("10.0.0.0/8",))
    assert proxies.trusts(("::ffff:10.0.0.1", 1))
    assert not proxies.trusts(("::ffff:11.0.0.1", 1))


def test_networks_of_both_families_may_be_mixed() -> None:
    proxies = TrustedProxies(("10.0.0.0/8", "fd00::/8", "::1"))
    assert [proxies.trusts((host, 1)) for host in ("10.1.1.1", "fd00::1", "::1", "127.0.0.1", "fe00::1")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_many_peers_do_not_fill_the_memory() -> None:
    proxies = TrustedProxies(("10.0.0.0/16",))
    for number in range(3000):
        assert proxies.trusts((f"10.0.{number % 250}.{number // 250}", 1))
        assert not proxies.trusts((f"10.1.{number % 250}.{number // 250}", 1))
    assert len(proxies._known) <= 1024
