from __future__ import annotations

import re

import pytest

from slimops.address import check_encoded, check_host_port, without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://worker:hunter2@redis:6379/0", "redis://worker:********@redis:6379/0"),
        ("redis://:hunter2@redis/0", "redis://:********@redis/0"),
        (
            "rtsp://a:b@c/1: [Errno 111] refused: 'rtsp://a:b@c/1'",
            "rtsp://a:********@c/1: [Errno 111] refused: 'rtsp://a:********@c/1'",
        ),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ("rtsp://admin:Se/cr3t@cam/1", "rtsp://admin:********@cam/1"),
        ("rtsp://admin:Se cr3t@cam/1 is gone", "rtsp://admin:********@cam/1 is gone"),
        ("rtsp://admin:12/34?#@cam/1", "rtsp://admin:********@cam/1"),
        ("rtsp://cam/1?psw=hunter2&usr=a", "rtsp://cam/1?psw=********&usr=a"),
        ("srt://cam:9000?passphrase=hunter2", "srt://cam:9000?passphrase=********"),
        ("redis://:p@ss:word@redis/0", "redis://:********@redis/0"),
        (
            "rtsp://camera/live?user=a&password=b@c&channel=1 is gone",
            "rtsp://camera/live?user=a&password=********&channel=1 is gone",
        ),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_password_of_a_url_is_masked_and_the_rest_stays(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


@pytest.mark.parametrize(
    "name", ["pass", "passwd", "loginpas", "pwd", "auth", "authbasic", "access_token", "api_key"]
)
def test_passwords_of_a_query_are_masked_whatever_they_are_called(name: str) -> None:
    shown = without_passwords(f"http://cam/video?user=a&{name}=hunter2&x=1")

    assert shown == f"http://cam/video?user=a&{name}=********&x=1"


@pytest.mark.parametrize("password", ["a/b", "a?b", "a#b", "x y", "1/2 3"])
def test_a_password_that_must_be_encoded_is_refused_and_not_told(password: str) -> None:
    with pytest.raises(ValueError, match="percent-encode") as caught:
        check_encoded(f"rtsp://admin:{password}@camera/1")

    assert password not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:a%2Fb@camera/1",
        "http://camera:8080/x@y",
        "redis://:p@ss@redis/0",
        "unix:///run/redis.sock",
        "rtsp://[::1]/1",
    ],
)
def test_a_url_that_means_what_it_says_is_taken(url: str) -> None:
    assert check_encoded(url) == url


@pytest.mark.parametrize("address", ["localhost:1", "10.0.0.7:50051", "[fd00::7]:65535"])
def test_an_address_with_its_port_is_taken(address: str) -> None:
    assert check_host_port(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        ":50051",
        "cloud:",
        "cloud:0",
        "127.0.0.1:99999",
        "fd00::7",
        "http://cloud:80",
    ],
)
def test_an_address_without_its_port_is_said_to_be_that(address: str) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(address)}: expected host:port"):
        check_host_port(address)
