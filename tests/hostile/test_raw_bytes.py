"""Bytes that are no HTTP, nearly HTTP, and HTTP with odd headers and bodies, over real sockets, by the thousand.

The seed is fixed; what fails names its number, and `python -m tests.hostile.mutation NUMBER` shows its bytes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hostile.mutation import request
from tests.hostile.shape import wrong
from tests.hostile.sockets import Heard, said
from tests.hostile.world import Target

AT_ONCE = 32
IN_CI, LONG = 5_000, 100_000


def verdict(target: Target, number: int) -> str:
    """Return what is wrong with the answer to one mutated request, or nothing."""
    sent = request(number)
    told, asks_too_little = said(target, sent), b"deadline" in sent
    if not told.closed:
        return f"{number}: neither answered nor closed after {told.seconds:.0f} s"
    found = (wrong(*answer, upstream=asks_too_little) for answer in answers(told))
    return "; ".join(f"{number}: {each}" for each in found if each)


def answers(told: Heard) -> list[tuple[int, dict[str, str], bytes]]:
    """Return the answers in what came back: several where requests followed each other."""
    found, rest = [], told.data
    while rest.startswith(b"HTTP/1.1 "):
        head, _, rest = rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        to_head = rest.startswith(b"HTTP/1.1 ")  # the length of a body that does not come, and the next answer
        length = 0 if to_head else int(headers.get("content-length", "0"))
        body, rest = (rest[:length], rest[length:]) if "content-length" in headers else (b"", b"")
        found.append((int(lines[0].split(" ")[1]), headers, body))
        if len(body) < length:
            return found[:-1]  # to a HEAD
    return found


def attack(target: Target, numbers: range) -> list[str]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [found for found in pool.map(lambda number: verdict(target, number), numbers) if found]


def test_five_thousand_mutated_requests_end_in_an_answer_or_a_closed_connection(target: Target) -> None:
    assert [] == attack(target, range(IN_CI))[:5]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_mutated_requests_end_in_an_answer_or_a_closed_connection(target: Target) -> None:
    assert [] == attack(target, range(IN_CI, LONG))[:5]
