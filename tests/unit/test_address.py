"""What may be written after --bind, and how an address is shown."""

from __future__ import annotations

import pytest

from shardserve.errors import ConfigError
from shardserve.net.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address", "shown", "url"),
    [
        ("127.0.0.1:8000", Address("tcp", "127.0.0.1", 8000), "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("127.0.0.1", Address("tcp", "127.0.0.1", 8000), "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("127.0.0.1:0", Address("tcp", "127.0.0.1", 0), "127.0.0.1:0", "http://127.0.0.1:0"),
        (":80", Address("tcp", "0.0.0.0", 80), "0.0.0.0:80", "http://0.0.0.0:80"),
        ("0.0.0.0:80", Address("tcp", "0.0.0.0", 80), "0.0.0.0:80", "http://0.0.0.0:80"),
        ("localhost:65535", Address("tcp", "localhost", 65535), "localhost:65535", "http://localhost:65535"),
        ("a-b.example", Address("tcp", "a-b.example", 8000), "a-b.example:8000", "http://a-b.example:8000"),
        ("[::1]:80", Address("tcp", "::1", 80), "[::1]:80", "http://[::1]:80"),
        ("[::]", Address("tcp", "::", 8000), "[::]:8000", "http://[::]:8000"),
        ("[fe80::1%eth0]:80", Address("tcp", "fe80::1%eth0", 80), "[fe80::1%eth0]:80", "http://[fe80::1%eth0]:80"),
        ("unix:/run/a.sock", Address("unix", path="/run/a.sock"), "unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:a.sock", Address("unix", path="a.sock"), "unix:a.sock", "unix:a.sock"),
        ("unix:///run/a.sock", Address("unix", path="/run/a.sock"), "unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:@name", Address("unix", path="@name"), "unix:@name", "unix:@name"),
        ("fd://3", Address("fd", fd=3), "fd://3", "fd://3"),
    ],
)
def test_an_address_is_read_and_shown(text: str, address: Address, shown: str, url: str) -> None:
    assert parse_address(text) == address
    assert str(address) == shown
    assert address.url == url
    assert parse_address(shown) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8000",
        "a:b",
        "a:80:90",
        "::1",
        "::1:80",
        "[::1",
        "[]:80",
        "[::1]80",
        "a:-1",
        "a:+1",
        "a: 80",
        "a:65536",
        "a:99999999999999999999",
        "http://a:80",
        "a/b:80",
        "unix:",
        "unix://",
        "fd://",
        "fd://a",
        "fd://-1",
        "fd://3 ",
        "a:80\n",
    ],
)
def test_what_is_no_address_is_refused_in_words_that_name_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert "--bind" in str(caught.value)
    assert repr(text) in str(caught.value)
