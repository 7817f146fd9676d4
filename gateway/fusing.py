"""Examine experts as fusers, on panels of real answers to questions whose answers are known (Symbolic-MoE, 2503.05641,
section 3): who fuses best in which domain, and whether fusing pays at all.

    ask      each expert the questions; their answers are marked
    seat     panels of those answers: one right among wrong, many wrong, all wrong, and councils as routing seats them
    examine  each candidate is sent what `synthesize` sends for a panel; what it writes is marked
    write    figures for each fuser, and what pays where answers cannot be compared

The work is a job; answers are kept while it runs, so that it goes on after an interruption.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from experts.dispatcher import Dispatcher
from experts.fusing_exam import Fused, Panel, advice, advice_body, best_first, fuser_body, scored
from experts.launch.state import state_folder
from experts.profiling import right
from experts.registry import Expert
from experts.types import ExpertCall, ExpertName
from gateway.batches.opening import State, settled
from gateway.catalogue import Catalogue
from gateway.catalogue.fusing import ADVICE, key_of
from gateway.errors import RequestError
from gateway.fusing_panels import adoptable, call_for, dominated, voted
from gateway.fusing_seating import seated
from gateway.fusing_sitting import Answers, Sheet, Sitting
from gateway.fusing_spec import BenchmarkSpec, Plan, plan_of
from gateway.job import Run
from gateway.jobs import Jobs
from gateway.pipeline import Pipeline
from gateway.profiling_journal import Journal
from gateway.profiling_sitting import READING, longest_answer
from gateway.profiling_spec import FindFile
from gateway.translate import CHARACTERS_PER_TOKEN, for_expert
from router.conversation import message_text

KIND, SUBJECT = "benchmark-fuser", "fusers"
FOLDER = "profiling"
Ready = Callable[[], Awaitable[None]]
Examined = Mapping[ExpertName, Sequence[Fused]]


class NothingExamined(RequestError):
    """No panel could be seated, or nobody could be examined."""


class FuserBenchmark:
    """Does the jobs of kind `benchmark-fuser`. Everything is borrowed.

    Args:
        catalogue: who there is, and where figures are written.
        dispatcher: asks them.
        pipeline: whom routing would seat, and how votes are counted.
        ready: returns once it is known who can answer, as servers of ours come up after the gateway does.
        find_file: where an uploaded file lies; None: there are no uploads.
        folder: where answers are kept meanwhile.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        dispatcher: Dispatcher,
        pipeline: Pipeline,
        ready: Ready,
        find_file: FindFile | None = None,
        folder: Callable[[], Path] = lambda: state_folder() / FOLDER,
    ) -> None:
        self._catalogue, self._dispatcher, self._pipeline = catalogue, dispatcher, pipeline
        self._ready, self._find_file, self._folder = ready, find_file, folder

    async def check(self, spec: BenchmarkSpec) -> Plan:
        """Return what a benchmark comes to; see `plan_of` for what it raises."""
        return await plan_of(spec, self._catalogue.registry.snapshot, self._find_file)

    async def work(self, run: Run) -> Mapping[str, Any]:
        """Examine the fusers and write down what was found.

        Raises:
            ServiceError: it cannot be done, or nothing came of it.
        """
        spec = BenchmarkSpec.model_validate(dict(run.job.spec))
        await self._ready()
        plan = await self.check(spec)
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Journal(folder / f"{KIND}.jsonl") as journal:
            sitting = Sitting(self._dispatcher, journal, run, spec.concurrency)
            answered = await self._answered(plan, spec, sitting, run)
            seats = await self._seated(plan, spec, answered)
            run.progress(run.done, plan.answers + len(seats) * len(plan.fusers))
            examined = {each.name: await self._examined(each, seats, spec, sitting) for each in plan.fusers}
            result = await self._written(plan, spec, seats, answered, examined)
            journal.forget()
        return result

    async def _answered(self, plan: Plan, spec: BenchmarkSpec, sitting: Sitting, run: Run) -> dict[str, Answers]:
        """Put every question to every panelist, one panelist after the other."""
        run.progress(0, plan.calls)
        found = {}
        for expert in plan.panelists:
            sheets = [
                Sheet(question, _fitting(ExpertCall(expert.name, question.messages), expert, spec))
                for question in plan.paper.questions
            ]
            found[expert.name] = await sitting.put(expert, sheets, read_on=True)
        return found

    async def _seated(self, plan: Plan, spec: BenchmarkSpec, answered: Mapping[str, Answers]) -> list[Panel]:
        """Seat panels of those who could be asked.

        Raises:
            NothingExamined: no panel has anybody on it who is right.
        """
        usable = {name: answers for name, answers in answered.items() if answers.usable}
        seats = await seated(plan, usable, self._pipeline, spec.seed)
        if all(panel.kind == "all_wrong" for panel in seats):
            failed = "".join(f" {answers.last_error}" for answers in answered.values() if not answers.usable)
            raise NothingExamined(f"No question of {spec.data} makes a panel on which somebody is right.{failed}")
        return seats

    async def _examined(self, fuser: Expert, seats: Sequence[Panel], spec: BenchmarkSpec, sitting: Sitting) -> Answers:
        config = self._pipeline.fusion
        sheets = [
            Sheet(
                panel.question,
                _fitting(call_for(panel, fuser.name, {}, config), fuser, spec),
                adoptable(panel, config),
            )
            for panel in seats
        ]
        return await sitting.put(fuser, sheets, read_on=False)

    async def _written(
        self,
        plan: Plan,
        spec: BenchmarkSpec,
        seats: Sequence[Panel],
        answered: Mapping[ExpertName, Answers],
        examined: Mapping[ExpertName, Answers],
    ) -> dict[str, Any]:
        """Write every fuser's figures and the advice, and return all of it.

        Raises:
            NothingExamined: of every candidate's calls too many failed.
        """
        fused = {
            name: [Fused(seats[place], marked.score) for place, marked in sorted(answers.marks.items())]
            for name, answers in examined.items()
            if answers.usable
        }
        if not fused:
            raise NothingExamined(f"Nobody could be examined: {next(iter(examined.values())).last_error}")
        facts = {"questions": spec.data, "measured_at": round(time.time(), 3)}
        bodies = await asyncio.to_thread(_bodies, fused, examined, facts)
        advised = await self._advice(seats, fused, facts)
        await self._put(bodies, advised)
        return {
            "fusers": bodies,
            "best": await asyncio.to_thread(_best, fused),
            "advice": advised,
            "panels": dict(Counter(panel.kind for panel in seats)),
            "councils": sum(panel.council for panel in seats),
            "asked": len(plan.paper.questions),
            "skipped": dict(plan.paper.skipped),
            "left_out": _left_out(answered, examined),
            "reused": sum(each.reused for each in [*answered.values(), *examined.values()]),
        }

    async def _advice(self, seats: Sequence[Panel], fused: Examined, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        councils = [panel for panel in seats if panel.council]
        votes = {}
        for panel in councils:
            text = await voted(panel, self._pipeline.fusion)
            votes[panel.key] = float(await asyncio.to_thread(right, panel.question, text, READING))
        contested = {panel.key for panel in councils if not dominated(panel)}
        found = await asyncio.to_thread(advice, councils, fused, votes, contested)
        return None if found is None else advice_body(found, **facts)

    async def _put(self, bodies: Mapping[ExpertName, Mapping[str, Any]], advised: Mapping[str, Any] | None) -> None:
        store, there = self._catalogue.store, self._catalogue.registry.snapshot
        for name, body in bodies.items():
            if name in there:
                self._catalogue.took(await store.put(key_of(name), body))
        if advised is not None:
            self._catalogue.took(await store.put(ADVICE, advised))


def opened_benchmark(
    jobs: Jobs,
    catalogue: Catalogue,
    dispatcher: Dispatcher,
    pipeline: Pipeline,
    state: State,
    find_file: FindFile | None = None,
) -> FuserBenchmark:
    """Return a benchmark whose work `jobs` does from now on, one at a time."""
    ready = partial(settled, catalogue.registry, state)
    benchmark = FuserBenchmark(catalogue, dispatcher, pipeline, ready, find_file)
    jobs.register(KIND, benchmark.work, at_once=1)
    return benchmark


def _fitting(call: ExpertCall, expert: Expert, spec: BenchmarkSpec) -> ExpertCall:
    """Return the call with an answer no longer than the expert's window leaves room for, unless the spec says."""
    longest, window = longest_answer(expert), expert.profile.context_window
    if window is not None:
        read = sum(len(message_text(message)) for message in call.messages) / CHARACTERS_PER_TOKEN
        longest = max(1, min(longest, round(window - read)))
    parameters = {"temperature": 0, "max_tokens": spec.max_tokens or longest}
    return replace(call, parameters=for_expert(parameters, expert.profile))


def _bodies(
    fused: Examined, examined: Mapping[ExpertName, Answers], facts: Mapping[str, Any]
) -> dict[ExpertName, dict[str, Any]]:
    """Return the document of each fuser that was shown a panel on which somebody is right."""
    found = {name: fuser_body(rows, failed=dict(examined[name].failures), **facts) for name, rows in fused.items()}
    return {name: body for name, body in found.items() if body is not None}


def _best(fused: Examined) -> dict[str, ExpertName]:
    """Return who fuses best in each domain."""
    figures = {name: found for name, rows in fused.items() if (found := scored(rows)) is not None}
    domains = sorted({domain for each in figures.values() for domain in each.expected})
    return {domain: best_first(figures, domain)[0] for domain in domains}


def _left_out(answered: Mapping[ExpertName, Answers], examined: Mapping[ExpertName, Answers]) -> dict[str, str]:
    """Return who was left out because too many calls failed, and the last failure."""
    return {name: each.last_error for asked in (answered, examined) for name, each in asked.items() if not each.usable}
