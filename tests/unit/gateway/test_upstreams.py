"""Which addresses may be registered: never a cloud's metadata service, however it is written or named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from experts.addresses import forbidden
from experts.config import ReplicaConfig
from gateway.errors import InvalidRequest
from gateway.upstreams import Upstreams

NAMES = {
    "sly.example": ["10.0.0.1", "169.254.169.254"],
    "fine.example": ["93.184.216.34"],
    "six.example": ["fe80::1%eth0"],
}


async def lookup(host: str) -> Sequence[str]:
    return NAMES.get(host, [])


async def verdict(url: str, allowed: Sequence[str] = ()) -> str:
    try:
        await Upstreams(allowed, lookup).check(ReplicaConfig.model_validate({"base_url": url}), "replicas.0.base_url")
    except InvalidRequest as error:
        return "refused" if error.param == "replicas.0.base_url" else "refused without saying where"
    return "allowed"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/v1",
        "http://169.254.0.1:8000/v1",
        "http://[fe80::1]/v1",
        "http://[febf::2]:8000/v1",
        "http://[fd00:ec2::254]/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[64:ff9b::a9fe:a9fe]/v1",
        "http://[2002:a9fe:a9fe::]/v1",
        "http://100.100.100.200/v1",
        "http://metadata.google.internal/v1",
        "http://METADATA.google.internal./v1",
        "http://2852039166/v1",
        "http://0xa9fea9fe/v1",
        "http://0251.0376.0251.0376/v1",
        "http://sly.example/v1",
        "http://six.example/v1",
        "http://user:secret@fine.example/v1",
    ],
)
async def test_link_local_and_metadata_addresses_are_refused_whatever_is_allowed(url: str) -> None:
    assert ["refused"] * 2 == [await verdict(url), await verdict(url, ["*"])]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://10.1.2.3/v1",
        "https://fine.example/v1",
        "http://unknown.example/v1",
        "http://[fd00:ec2::255]/v1",
        "http://[fec0::1]/v1",
        "http://100.100.100.201/v1",
        "http://169.253.255.255/v1",
    ],
)
async def test_any_other_address_is_allowed(url: str) -> None:
    assert "allowed" == await verdict(url)


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://vllm-1.internal:8000/v1", "allowed"),
        ("http://VLLM-1.Internal/v1", "allowed"),
        ("http://vllm-1.internal.evil.example/v1", "refused"),
        ("http://10.0.0.7:9000/v1", "allowed"),
        ("http://10.0.0.7:9001/v1", "refused"),
        ("http://fine.example/v1", "refused"),
    ],
)
async def test_with_patterns_only_what_they_match_is_allowed(url: str, answer: str) -> None:
    assert answer == await verdict(url, ["*.internal", "10.0.0.7:9000"])


@pytest.mark.parametrize(
    ("text", "answer"), [("fe80::1%eth0", True), ("name", False), ("169.254.1.1", True), ("::1", False)]
)
def test_a_text_is_forbidden_only_as_an_address(text: str, answer: bool) -> None:
    assert answer == forbidden(text)
