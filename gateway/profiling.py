"""Measure an expert while the gateway runs: put questions to it, mark the answers, let routing know.

Questions go through the dispatcher like any call, at batch priority and a few at a time, so that they wait for whoever
is waited for. When more than a tenth of the calls failed nothing is written. The work is a job, and answers already
marked are kept, so that it goes on after an interruption.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from experts.dispatcher import Dispatcher
from experts.launch.state import state_folder
from experts.profiling import findings, measured_body
from experts.registry import Expert, Registry
from experts.store import Document, Store
from experts.types import Domain, ExpertName
from gateway.batches.opening import State, settled
from gateway.catalogue import Catalogue
from gateway.catalogue.measured import key_of
from gateway.errors import InvalidRequest, UnknownExpert
from gateway.job import Run
from gateway.jobs import Jobs
from gateway.pipeline import Pipeline
from gateway.profiling_journal import Journal
from gateway.profiling_sitting import Sitting, Tally
from gateway.profiling_spec import FindFile, Paper, ProfileSpec, paper_of
from router import Router
from router.policies.objective import Economy

KIND = "profile"
FOLDER = "profiling"
Ready: TypeAlias = Callable[[Collection[ExpertName]], Awaitable[None]]


async def at_once(_names: Collection[ExpertName]) -> None:
    """Wait for nobody."""


class Profiler:
    """Does the jobs of kind `profile`. Everything is borrowed.

    Args:
        registry: who there is.
        dispatcher: asks them.
        store: where `measured/NAME` is written.
        economy: what unpriced experts are taken to cost.
        knows: whether routing ever says of a query that it is about a domain.
        took: is given each document written, so that routing knows at once.
        find_file: where an uploaded file lies; None: there are no uploads.
        folder: where answers are kept meanwhile.
        ready: returns once it is known whether these experts can answer, as servers of ours come up after the gateway.
    """

    def __init__(
        self,
        registry: Registry,
        dispatcher: Dispatcher,
        store: Store,
        *,
        economy: Economy,
        knows: Callable[[Domain], bool],
        took: Callable[[Document], None],
        find_file: FindFile | None = None,
        folder: Callable[[], Path] = lambda: state_folder() / FOLDER,
        ready: Ready = at_once,
    ) -> None:
        self._ready = ready
        self._registry, self._dispatcher, self._store = registry, dispatcher, store
        self._economy, self._knows, self._took = economy, knows, took
        self._find_file, self._folder = find_file, folder

    async def check(self, name: ExpertName, spec: ProfileSpec) -> Paper:
        """Return the questions of a profiling that can be done.

        Raises:
            UnknownExpert: there is no such expert, or no such judge.
            InvalidRequest: the expert would mark itself.
            QuestionError: the questions cannot be used.
        """
        for wanted in (name, *([spec.judge] if spec.judge else [])):
            self._expert(wanted)
        if spec.judge == name:
            raise InvalidRequest(f"'{name}' cannot judge its own answers: name another expert.", param="judge")
        return await paper_of(spec, self._find_file)

    async def work(self, run: Run) -> Mapping[str, Any]:
        """Measure the job's expert and write what was found.

        Raises:
            ServiceError: it cannot be done, or too many calls failed.
        """
        spec = ProfileSpec.model_validate(dict(run.job.spec))
        paper = await self.check(run.job.subject, spec)
        await self._ready([run.job.subject, *([spec.judge] if spec.judge else [])])
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Journal(folder / f"{run.job.subject.replace(':', '_')}.jsonl") as journal:
            sitting = Sitting(self._dispatcher, self._expert(run.job.subject), self._judge(spec), spec, self._economy)
            tally = await sitting.hold(paper, journal, run)
            body = self._body(spec, paper, tally)
            self._expert(run.job.subject)
            self._took(await self._store.put(key_of(run.job.subject), body))
            journal.forget()
        return body

    def _expert(self, name: ExpertName) -> Expert:
        expert = self._registry.snapshot.get(name)
        if expert is None:
            raise UnknownExpert(f"There is no expert '{name}'.")
        return expert

    def _judge(self, spec: ProfileSpec) -> Expert | None:
        return None if spec.judge is None else self._expert(spec.judge)

    def _body(self, spec: ProfileSpec, paper: Paper, tally: Tally) -> dict[str, Any]:
        found = findings(tally.outcomes)
        return measured_body(
            found,
            source=spec.questions,
            measured_at=time.time(),
            asked=len(paper.questions),
            failed=dict(tally.failures),
            cut_off=tally.cut_off,
            reused=tally.reused,
            skipped=dict(paper.skipped),
            unknown_domains=[domain for domain in found.domains if not self._knows(domain)],
            judge=spec.judge,
            thinking=spec.thinking,
        )


def opened_profiler(
    jobs: Jobs,
    catalogue: Catalogue,
    dispatcher: Dispatcher,
    pipeline: Pipeline,
    state: State,
    find_file: FindFile | None = None,
) -> Profiler:
    """Return a profiler whose work `jobs` does from now on."""
    profiler = Profiler(
        catalogue.registry,
        dispatcher,
        catalogue.store,
        economy=pipeline.router.context.economy,
        knows=lambda domain: told_apart(pipeline.router, domain),
        took=catalogue.took,
        find_file=find_file,
        ready=lambda names: settled(catalogue.registry, state, names),
    )
    jobs.register(KIND, profiler.work)
    return profiler


def told_apart(router: Router, domain: Domain) -> bool:
    """Say whether queries may be said to be about a domain, or about one of those it groups."""
    return bool({domain, *router.context.taxonomy.expand([domain])} & set(router.classifier.domains))
