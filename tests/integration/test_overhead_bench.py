"""The load generator and the prepared upstream of `make bench-overhead` agree with each other and with the gateway."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests.bench.overhead import load, rows
from tests.bench.overhead.contenders import upstream
from tests.bench.overhead.upstream import FAST_TOKENS
from tests.conftest import gateway_over

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with upstream(tmp_path_factory.mktemp("upstream")) as port:
        yield port


@pytest.mark.parametrize("stream", [False, True])
async def test_every_answer_is_read_to_its_end_directly_and_through_the_gateway(behind: int, stream: bool) -> None:
    record = {"name": "plain", "replicas": [{"base_url": f"http://127.0.0.1:{behind}/v1"}]}
    async with gateway_over([record]) as client:
        for port in (behind, client.base_url.port or 0):
            target = load.Target(port, PATH, "plain", "no key")
            asked = rows.bodies("plain", rows.Case(100, stream))
            closed = await load.closed_loop(target, asked, clients=4, seconds=0.3)
            opened = await load.open_loop(target, asked, per_second=40, seconds=0.3)
            connection = await load.connected(port)
            answer = await connection.ask(target.request(next(asked)))
            await connection.aclose()

            assert 0 == closed.failed + opened.failed
            assert closed.total
            assert opened.total
            assert 200 == answer.status
            assert answer.tail.endswith(load.CHUNKED_END if stream else b"}")
            assert answer.size > len("word ") * FAST_TOKENS


async def test_a_row_says_what_one_client_and_many_got(behind: int) -> None:
    target = load.Target(behind, PATH, "plain", "no key")
    row = await rows.row("direct", target, rows.Case(30, False), 0.2, psutil.Process())

    assert 0 == row.failed
    assert row.per_second > 0
    assert 0 < row.first <= row.alone <= 1000


async def test_prompts_are_as_long_as_asked_and_distinct_only_where_that_is_asked() -> None:
    distinct, repeated = (
        rows.bodies("m", rows.Case(1000, False)),
        rows.bodies("m", rows.Case(1000, False, distinct=False)),
    )
    first, second = next(distinct), next(distinct)

    assert first != second
    assert next(repeated) == next(repeated)
    assert 3000 < len(first) < 8000
