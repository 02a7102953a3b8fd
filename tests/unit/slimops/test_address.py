from __future__ import annotations

import pytest

from slimops.address import without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://worker:hunter2@redis:6379/0", "redis://worker:********@redis:6379/0"),
        ("redis://:hunter2@redis/0", "redis://:********@redis/0"),
        (
            "rtsp://a:b@c/1: [Errno 111] refused: 'rtsp://a:b@c/1'",
            "rtsp://a:********@c/1: [Errno 111] refused: 'rtsp://a:********@c/1'",
        ),
        ("http://127.0.0.1:8080/x@y", "http://127.0.0.1:8080/x@y"),
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
