"""`decompose`: a planner splits the question, the router picks an expert for each part, the parts become one answer.

Parts that do not need one another are asked together; the final answer of one goes into the question of the next
(aggregator.planning). Where every part leads to the last, the last answer is the answer, streamed with its working;
else the fuser writes from the quoted parts. Steps, depth, calls and time are bounded. A step that fails is planned
around once (OpenAGI, 2304.04370); without a plan that can be followed the primary answers alone, as HDFlow (2409.17433)
keeps its fast answer. No candidate is asked before that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aggregator.asides import read_together, remark
from aggregator.asking import aside_parameters, asked, instructed, writing_parameters
from aggregator.planning import Plan, Unplannable, question_of, read_plan, told, turns_before
from aggregator.replay import pass_through
from aggregator.strategies.single import Single
from aggregator.types import Answer, Chosen, Failure, FusionReport, FusionTask, Step
from aggregator.verification import weakness
from experts.errors import ExpertError, ServiceError
from experts.planning_prompt import ANSWER_LINE, composing_instructions, planning_messages
from experts.types import AnswerChunk, ExpertCall, ExpertStream, Message, Usage

PLANS = 2
"""The first, and one more when a step of it failed."""


class Decompose:
    """Split, ask, compose."""

    name = "decompose"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the composed answer, or the primary's own; see `Strategy.fuse`."""
        chunks = await _Work(task, report).begun() or Single().fuse(task, report)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
        failed = {failure.expert for failure in report.failures}
        unread = (candidate for candidate in task.candidates if not candidate.stream.asked)
        report.unasked.extend(candidate.expert for candidate in unread if candidate.expert not in failed)


class _StepFailed(Exception):
    """A sub-question has no usable answer."""

    def __init__(self, question: str, why: str) -> None:
        super().__init__(f"the step '{question}' failed: {why}")
        self.question, self.why = question, why


class _Work:
    """One question being worked out: its bounds, and the steps that were answered, by their question."""

    def __init__(self, task: FusionTask, report: FusionReport) -> None:
        self._task, self._report = task, report
        self._deadline = time.monotonic() + task.limits.deadline_seconds
        self._steps: dict[str, Step] = {}

    async def begun(self) -> AsyncGenerator[AnswerChunk, None] | None:
        """Return the answer as it is written; None when no plan works out, and the note says why."""
        failed = ""
        try:
            for _ in range(PLANS):
                plan = await self._plan(failed)
                try:
                    return await self._followed(plan)
                except _StepFailed as error:
                    failed = error.question
                    remark(self._report, str(error))
        except Unplannable as error:
            remark(self._report, str(error))
        remark(self._report, "the primary answers alone")
        return None

    async def _plan(self, failed: str) -> Plan:
        """Ask for a plan; `failed` is the sub-question at which the one before failed."""
        task, options = self._task, self._task.config.decompose
        if task.route is None:
            raise Unplannable("nobody can route sub-questions")
        messages = planning_messages(
            question_of(task.messages, task.parameters),
            options.max_steps,
            earlier=turns_before(task.messages),
            answered=[(step.question, step.final or step.text) for step in self._steps.values()],
            failed=failed,
        )
        planner = Chosen(options.planner or task.fuser or task.candidates[0].expert)
        outcome = await self._read(planner, messages)
        if isinstance(outcome, Failure):
            self._report.failures.append(Failure(outcome.expert, 0.0, f"planner: {outcome.message}", outcome.error))
            raise Unplannable("the planner failed")
        return read_plan(outcome.text, max_steps=options.max_steps, max_depth=options.max_depth)

    async def _followed(self, plan: Plan) -> AsyncGenerator[AnswerChunk, None]:
        finals: dict[int, str] = {}
        asked: list[str] = []
        last, needed = len(plan.questions) - 1, frozenset[int]().union(*plan.uses)
        for wave in plan.waves:
            now = [step for step in wave if not (plan.concludes and step == last)]
            questions = [plan.question(step, finals) for step in now]
            for step, done in zip(now, await self._answered(questions), strict=True):
                if step in needed and done.final is None:
                    del self._steps[done.question]
                    raise _StepFailed(done.question, "it has no final answer that fits into a question")
                finals[step] = done.final or ""
            asked += questions
        if plan.concludes:
            return await self._concluded(plan.question(last, finals))
        return await self._composed([self._steps[question] for question in asked])

    async def _answered(self, questions: Sequence[str]) -> list[Step]:
        """Ask together what was not asked before; return the steps in the questions' order."""
        fresh = [question for question in dict.fromkeys(questions) if question not in self._steps]
        self._affordable(len(fresh))
        steps = await asyncio.gather(*(self._step(question) for question in fresh))
        self._report.steps.extend(steps)
        self._steps |= {step.question: step for step in steps if not step.error}
        if failed := next((step for step in steps if step.error), None):
            raise _StepFailed(failed.question, failed.error)
        return [self._steps[question] for question in questions]

    async def _step(self, question: str) -> Step:
        """Route and ask one sub-question."""
        messages: tuple[Message, ...] = ({"role": "user", "content": question},)
        if self._task.config.decompose.answer_line:
            messages = instructed(messages, ANSWER_LINE)
        try:
            outcome = await self._read(await self._routed(question), messages)
        except _StepFailed as error:
            return Step(question, error=error.why)
        if isinstance(outcome, Failure):
            return Step(question, outcome.expert, error=outcome.message)
        weak = weakness(outcome.answer, messages)
        usage = outcome.answer.usage
        return Step(question, outcome.expert, outcome.text, told(outcome.text), usage, weak or "")

    async def _read(self, chosen: Chosen, messages: tuple[Message, ...]) -> Answer | Failure:
        """Return what an expert says to messages of ours, by the deadline."""
        self._affordable(1)
        parameters = {**aside_parameters(self._task), "temperature": 0}
        call = asked(self._task, chosen, messages, parameters)
        (outcome,) = await read_together([call], self._task, self._report, self._deadline)
        return outcome

    async def _routed(self, question: str) -> Chosen:
        assert self._task.route is not None
        try:
            async with asyncio.timeout(self._left()):
                return (await self._task.route(({"role": "user", "content": question},)))[0]
        except TimeoutError:
            raise _StepFailed(question, "time was up") from None
        except ServiceError as error:
            raise _StepFailed(question, str(error)) from error

    async def _concluded(self, question: str) -> AsyncGenerator[AnswerChunk, None]:
        """Ask the question whose answer is the answer to the whole, in the client's own manner."""
        self._affordable(1)
        task = self._task
        manner = tuple(message for message in task.messages if message.get("role") in ("system", "developer"))
        expert = (await self._routed(question)).expert
        messages = (*manner, {"role": "user", "content": question})
        stream = task.ask(ExpertCall(expert, messages, writing_parameters(task)))
        chunks = pass_through(stream, self._report)
        try:
            async with asyncio.timeout(self._left()):
                opening = await _until_text(chunks)
        except TimeoutError:
            raise _StepFailed(question, "it did not begin in time") from None
        except ExpertError as error:
            raise _StepFailed(question, str(error)) from error
        if opening is None:
            raise _StepFailed(question, "empty")
        return self._told(question, stream, opening, chunks)

    async def _told(
        self, question: str, stream: ExpertStream, opening: list[AnswerChunk], chunks: AsyncGenerator[AnswerChunk, None]
    ) -> AsyncGenerator[AnswerChunk, None]:
        """Pass the last step on, and note it when it is over."""
        text = [chunk.text for chunk in opening]
        async with aclosing(chunks):
            for chunk in opening:
                yield chunk
            async for chunk in chunks:
                text.append(chunk.text)
                yield chunk
        whole, usage = "".join(text), stream.facts.usage or Usage()
        self._report.steps.append(Step(question, stream.expert, whole, told(whole), usage))

    async def _composed(self, steps: Sequence[Step]) -> AsyncGenerator[AnswerChunk, None]:
        """Let the fuser write from the steps."""
        self._affordable(1)
        task = self._task
        shown = [(step.question, step.expert or "", step.text) for step in steps]
        messages = instructed(task.messages, composing_instructions(shown))
        writer = task.fuser or task.candidates[0].expert
        stream = task.ask(ExpertCall(writer, messages, writing_parameters(task)))
        try:
            await stream.prime()
        except ExpertError as error:
            self._report.attempts += stream.facts.attempts
            self._report.failures.append(Failure(stream.expert, 0.0, f"fuser: {error}", error))
            raise Unplannable("nobody wrote the answer from the steps") from error
        self._report.fuser = self._report.answered_by = stream.expert
        return pass_through(stream, self._report)

    def _affordable(self, calls: int) -> None:
        """Keep one of the request's calls for the primary.

        Raises:
            Unplannable: too few are left.
        """
        if self._report.attempts + calls >= self._task.config.max_calls:
            raise Unplannable(f"the {self._task.config.max_calls} calls of the request would be used up")

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())


async def _until_text(chunks: AsyncGenerator[AnswerChunk, None]) -> list[AnswerChunk] | None:
    """Return the chunks up to the first that shows something, or None when the answer ends without."""
    opening = []
    async for chunk in chunks:
        opening.append(chunk)
        if chunk.text.strip():
            return opening
    return None
