"""Jobs: who runs one, how far it is, how it is stopped, and what becomes of it when its process dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from experts.errors import ServiceError
from experts.store import Body, Document, SqliteStore, StoreError
from gateway.errors import UnknownJob
from gateway.job import PREFIX, Job, Run, State, shown
from gateway.jobs import KEPT_SECONDS, Jobs

TICK = 0.02
Process = Callable[..., Awaitable[Jobs]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "jobs.db", poll_seconds=TICK)
    yield opened
    await opened.aclose()


@pytest.fixture
async def process(store: SqliteStore) -> AsyncIterator[Process]:
    """Return what opens the jobs of one more process over the same store."""
    async with AsyncExitStack() as stack:

        async def opened(lease_seconds: float = 15.0) -> Jobs:
            return await stack.enter_async_context(Jobs(store, tick_seconds=TICK, lease_seconds=lease_seconds))

        yield opened


async def until(jobs: Jobs, job: Job, *states: State) -> Job:
    async with asyncio.timeout(10):
        while (now := await jobs.get(job.id)).state not in states:
            await asyncio.sleep(TICK)
    return now


async def count_to_three(run: Run) -> Mapping[str, Any]:
    for done in range(1, 4):
        run.progress(done)
        await asyncio.sleep(TICK)
    return {"counted": 3, "for": run.job.subject}


async def forever(run: Run) -> Mapping[str, Any]:
    run.progress(run.done + 1)
    await asyncio.Event().wait()
    return {}


async def test_a_job_runs_and_its_result_is_kept(process: Process) -> None:
    jobs = await process()
    jobs.register("count", count_to_three)

    job = await jobs.start("count", "math", {"why": "a test"}, total=3)
    ended = await until(jobs, job, "done")

    assert {"counted": 3, "for": "math"} == ended.result
    assert (3, 3, None) == (ended.done, ended.total, ended.error)
    assert ended.finished_at is not None
    assert ended.finished_at >= ended.created_at > 0


async def test_jobs_are_listed_newest_first_without_whose_lease_it_is(process: Process) -> None:
    jobs = await process()

    started = [await jobs.start("nobody does this", f"{number}", {}) for number in range(3)]

    assert [job.id for job in reversed(started)] == [job.id for job in await jobs.all()]
    assert not {"owner", "beat_at"} & set(shown(started[0]))


async def test_the_sentence_of_an_error_is_the_jobs_and_a_bug_is_called_one(process: Process) -> None:
    async def refuse(run: Run) -> Mapping[str, Any]:
        raise ServiceError("Nobody answered.") if run.job.subject == "ours" else ZeroDivisionError("1 / 0")

    jobs = await process()
    jobs.register("refuse", refuse)

    ours = await until(jobs, await jobs.start("refuse", "ours", {}), "failed")
    bug = await until(jobs, await jobs.start("refuse", "bug", {}), "failed")

    assert "Nobody answered." == ours.error
    assert "1 / 0" not in str(bug.error)
    assert "bug" in str(bug.error)


async def test_a_cancelled_job_stops_and_stays_cancelled(process: Process) -> None:
    stopped = asyncio.Event()

    async def work(run: Run) -> Mapping[str, Any]:
        try:
            return await forever(run)
        finally:
            stopped.set()

    jobs = await process()
    jobs.register("wait", work)
    job = await until(jobs, await jobs.start("wait", "x", {}), "running")

    await jobs.cancel(job.id)
    ended = await until(jobs, job, "cancelled")

    assert stopped.is_set()
    assert ended == await jobs.cancel(job.id)


async def test_another_process_may_cancel(process: Process) -> None:
    mine, theirs = await process(), await process()
    theirs.register("wait", forever)
    job = await until(mine, await mine.start("wait", "x", {}), "running")

    await mine.cancel(job.id)

    assert "cancelled" == (await until(mine, job, "cancelled")).state


async def test_a_job_nobody_began_is_cancelled_at_once(process: Process) -> None:
    jobs = await process()
    job = await jobs.start("nobody does this", "x", {})

    assert "cancelled" == (await jobs.cancel(job.id)).state


async def test_a_job_left_by_a_closed_process_goes_on_in_the_next_at_once(store: SqliteStore, process: Process) -> None:
    async with Jobs(store, tick_seconds=TICK) as first:
        first.register("wait", forever)
        job = await until(first, await first.start("wait", "x", {}, total=5), "running")
        await asyncio.sleep(5 * TICK)
    left = await first.get(job.id)
    second = await process()
    seen: list[int] = []

    async def go_on(run: Run) -> Mapping[str, Any]:
        seen.append(run.done)
        return {}

    second.register("wait", go_on)
    await until(second, job, "done")

    assert "queued" == left.state
    assert [1] == seen


async def test_a_dead_processes_lease_is_taken_over_and_a_living_ones_is_not(
    store: SqliteStore, process: Process
) -> None:
    dead = Job("job_dead", "count", "x", state="running", owner="gone", beat_at=1.0)
    await store.put(PREFIX + dead.id, _body(dead))
    living, rival = await process(lease_seconds=0.6), await process(lease_seconds=0.6)
    begun: list[str] = []

    async def slow(run: Run) -> Mapping[str, Any]:
        begun.append(run.job.id)
        await asyncio.sleep(1.5)
        return {}

    for jobs in (living, rival):
        jobs.register("count", slow)
    await until(living, dead, "done")

    assert [dead.id] == begun


async def test_a_process_whose_lease_was_taken_stops(store: SqliteStore, process: Process) -> None:
    stopped = asyncio.Event()

    async def work(run: Run) -> Mapping[str, Any]:
        try:
            return await forever(run)
        finally:
            stopped.set()

    jobs = await process()
    jobs.register("wait", work)
    job = await until(jobs, await jobs.start("wait", "x", {}), "running")
    document = await store.get(PREFIX + job.id)
    assert document is not None
    await store.put(document.key, {**document.body, "owner": "somebody else"})

    async with asyncio.timeout(10):
        await stopped.wait()
    assert "somebody else" == (await jobs.get(job.id)).owner


async def test_work_that_cannot_go_on_fails_when_it_was_interrupted(store: SqliteStore, process: Process) -> None:
    dead = Job("job_dead", "once", "x", state="running", owner="gone", beat_at=1.0)
    await store.put(PREFIX + dead.id, _body(dead))
    jobs = await process()
    jobs.register("once", count_to_three, resumes=False)

    assert "start it again" in str((await until(jobs, dead, "failed")).error)


async def test_no_more_of_a_kind_run_at_once_than_allowed(process: Process) -> None:
    running, most = 0, 0

    async def work(run: Run) -> Mapping[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(2 * TICK)
        running -= 1
        return {}

    jobs = await process()
    jobs.register("crowd", work, at_once=2)
    for job in [await jobs.start("crowd", "x", {}) for _ in range(6)]:
        await until(jobs, job, "done")

    assert 2 == most


async def test_progress_is_written_at_most_once_a_tick(process: Process, store: SqliteStore) -> None:
    async def busy(run: Run) -> Mapping[str, Any]:
        for done in range(1000):
            run.progress(done)
            await asyncio.sleep(0)
        return {}

    jobs = await process()
    jobs.register("busy", busy)
    before = (await store.put("before", {})).version
    await until(jobs, await jobs.start("busy", "x", {}), "done")
    written = (await store.put("after", {})).version - before

    assert written < 50


async def test_a_week_after_its_end_a_job_is_forgotten(store: SqliteStore, process: Process) -> None:
    old = Job("job_old", "x", "x", state="done", finished_at=1e9)
    await store.put(PREFIX + old.id, _body(old))
    jobs = await process()
    async with asyncio.timeout(10):
        while await store.get(PREFIX + old.id):
            await asyncio.sleep(TICK)

    assert KEPT_SECONDS == 7 * 24 * 3600
    with pytest.raises(UnknownJob):
        await jobs.get(old.id)


async def test_a_store_that_is_away_for_a_while_loses_nothing() -> None:
    class Moody(SqliteStore):
        away = False

        async def put(self, key: str, body: Body, *, expected: int | None = None) -> Document:
            if self.away:
                raise StoreError("away")
            return await super().put(key, body, expected=expected)

    store = Moody(":memory:")
    async with Jobs(store, tick_seconds=TICK) as jobs:
        jobs.register("count", count_to_three)
        job = await until(jobs, await jobs.start("count", "x", {}), "running")
        store.away = True
        await asyncio.sleep(10 * TICK)
        store.away = False
        ended = await until(jobs, job, "done")
    await store.aclose()

    assert 3 == ended.done


async def test_a_week_of_ended_jobs_costs_nothing_while_nothing_happens(store: SqliteStore, process: Process) -> None:
    for number in range(50):
        job = Job(f"job_{number}", "x", "x", state="done", finished_at=4e9, result={"long": "x" * 1000})
        await store.put(PREFIX + job.id, _body(job))
    found: list[str] = []

    async def counted(prefix: str = "") -> list[Document]:
        found.append(prefix)
        return []

    jobs = await process()
    jobs.register("count", count_to_three)
    store.find = counted  # type: ignore[method-assign]
    await until(jobs, await jobs.start("count", "x", {}), "done")

    assert [] == found


async def test_a_job_written_by_a_newer_version_can_be_read(store: SqliteStore, process: Process) -> None:
    job = Job("job_new", "x", "x")
    await store.put(PREFIX + job.id, {**_body(job), "mood": "good"})
    jobs = await process()

    assert "job_new" == (await jobs.get("job_new")).id


def _body(job: Job) -> dict[str, Any]:
    return {**shown(job), "owner": job.owner, "beat_at": job.beat_at}
