"""Train the pocket experts: the base on every domain, one LoRA adapter a domain, a generalist one, the fuser.

The generalist is the control: an adapter on the mixture of all domains, so that base and generalist together have
spent as many tokens on the mixture as the most expensive specialist has on its domain.

    python -m experts.pocket.train                         # whatever is missing
    python -m experts.pocket.train --stage math --again    # one stage anew
    python -m experts.pocket.train --stage math --further  # another round, from the adapter on disk

A stage that is already on disk is kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from experts.fusion_prompt import fusion_instructions
from experts.pocket import weights_folder
from experts.pocket.chat import build_tokenizer, save_tokenizer
from experts.pocket.corpus import DomainExercises, Exercises, batches
from experts.pocket.exam import DOMAINS
from experts.pocket.fusing import LESSONS, Answered, FusionExercises, Lesson
from experts.pocket.guidance import Guide
from experts.pocket.learning import Budget, LearningRecord, learn
from experts.pocket.model import build_base, load_base, with_new_adapter, with_trained_adapter
from experts.pocket.sampling import sampled
from experts.pocket.tasks import TASKS

log = logging.getLogger(__name__)

STAGES = ("base", *DOMAINS, "generalist", "fuser")
LATER = tuple(domain for domain in TASKS if domain not in DOMAINS)
"""Domains that do not ship: trained when named, over the base in `--out`."""
SEED = 7
BASE_TOKENS = 2_000_000
ADAPTER_TOKENS = 1_500_000
BASE_RATE = 2e-3
ADAPTER_RATE = 3e-3
FURTHER_RATE = 2e-3
TOKENS_PER_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Course:
    """How one adapter is trained. A panel is ten times as long as a question and its answer as short: more make a step.

    `guided`: attention heads are shown where to look, and the model is not compiled.
    """

    tokens: int
    rate: float
    tokens_per_batch: int = 2 * TOKENS_PER_BATCH
    guided: bool = False


COURSES: dict[Lesson, Course] = {
    "repeating": Course(1_300_000, 2e-3, guided=True),
    "copying": Course(1_300_000, 2e-3, guided=True),
    "panels": Course(5_000_000, 1e-3),
}


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where a run writes, what it may spend on a stage (None: the usual), and the device it computes on."""

    folder: Path
    tokens: int | None
    device: torch.device
    further: bool = False
    compiled: bool = False
    lessons: Sequence[Lesson] = LESSONS
    answered: Sequence[Answered] = ()

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer that the base stage wrote."""
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.folder / "base")
        return tokenizer

    def has(self, stage: str) -> bool:
        """Return whether the stage's weights are on disk."""
        return any((self.folder / stage).glob("*.safetensors"))

    def note(self, stage: str, record: LearningRecord, **more: str) -> None:
        """Write down what the stage cost, beside its weights."""
        threads = f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores"
        hardware = threads if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)
        rounds = self.rounds(stage) if self.further else []
        rounds.append({**more, **record.as_dict(), "seed": SEED, "hardware": hardware})
        (self.folder / stage / "training.json").write_text(json.dumps(rounds, indent=2) + "\n")

    def rounds(self, stage: str) -> list[dict[str, Any]]:
        """Return what each round of the stage cost so far."""
        path = self.folder / stage / "training.json"
        rounds: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        return rounds

    def start_of(self, stage: str) -> Path | None:
        """Return the adapter a stage goes on from, if any: its own, or for the fuser the one that copies letters."""
        if self.further:
            return self.folder / stage
        return self.folder / "language" if stage == "fuser" else None

    def question_seed(self, stage: str) -> int:
        """Return a seed whose questions no earlier round of the stage has seen."""
        return SEED + 1 + (1000 * len(self.rounds(stage)) if self.further else 0)


def train_base(workshop: Workshop) -> LearningRecord:
    """Train the generalist on the five domains in equal parts and save it in bfloat16."""
    folder = workshop.folder / "base"
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(build_tokenizer(_fusion_words()), folder)
    tokenizer = workshop.tokenizer()
    pad, end = tokenizer.convert_tokens_to_ids([str(tokenizer.pad_token), str(tokenizer.eos_token)])
    model = build_base(len(tokenizer), pad, end, SEED).to(workshop.device)
    supply = batches(tokenizer, DomainExercises(seed=SEED), tokens_per_batch=TOKENS_PER_BATCH, seed=SEED)
    record = learn(model, model, supply, Budget(workshop.tokens or BASE_TOKENS, TOKENS_PER_BATCH, BASE_RATE), pad)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad, do_sample=False)
    model.to(torch.bfloat16).save_pretrained(folder)
    set_greedy(folder / "generation_config.json")
    return record


def set_greedy(path: Path) -> None:
    """Write that answers are greedy in the way servers read it: vLLM goes by `temperature` and samples without one.

    transformers goes by `do_sample`, and does not save a temperature beside it.
    """
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"temperature": 0.0}, indent=2, sort_keys=True) + "\n")


def train_adapter(workshop: Workshop, stage: str, exercises: Exercises, course: Course) -> LearningRecord:
    """Train one LoRA adapter over the frozen base and save it as vLLM loads it."""
    tokenizer = workshop.tokenizer()
    base = load_base(workshop.folder / "base", torch.float32).to(workshop.device)
    adapter = workshop.folder / stage
    start = workshop.start_of(stage)
    adapted = with_trained_adapter(base, start) if start else with_new_adapter(base, SEED)
    supply = batches(tokenizer, exercises, tokens_per_batch=course.tokens_per_batch, seed=SEED)
    budget = Budget(workshop.tokens or course.tokens, course.tokens_per_batch, course.rate)
    if workshop.compiled and not course.guided:
        base.model.forward = torch.compile(base.model.forward, dynamic=True)
    pad = tokenizer.convert_tokens_to_ids(str(tokenizer.pad_token))
    record = learn(adapted, base, supply, budget, pad, Guide.of(tokenizer) if course.guided else None)
    for parameter in adapted.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    adapted.peft_config["default"].base_model_name_or_path = "base"
    adapted.save_pretrained(adapter)
    (adapter / "README.md").unlink(missing_ok=True)
    return record


def train_stage(workshop: Workshop, stage: str) -> None:
    """Train one stage by name and note its cost."""
    log.info("stage %s", stage)
    if stage == "base":
        record = train_base(workshop)
    elif stage == "fuser":
        train_fuser(workshop)
        return
    else:
        subjects = DOMAINS if stage == "generalist" else (stage,)
        course = Course(ADAPTER_TOKENS, FURTHER_RATE if workshop.further else ADAPTER_RATE, TOKENS_PER_BATCH)
        record = train_adapter(workshop, stage, DomainExercises(subjects, seed=workshop.question_seed(stage)), course)
    workshop.note(stage, record)
    log.info("stage %s done: %s", stage, record)


def train_fuser(workshop: Workshop) -> None:
    """Train the fuser, lesson by lesson; each one is saved when it ends."""
    for lesson in workshop.lessons:
        exercises = FusionExercises(workshop.question_seed("fuser"), lesson, workshop.answered)
        workshop.note("fuser", train_adapter(workshop, "fuser", exercises, COURSES[lesson]), lesson=lesson)
        workshop = replace(workshop, further=True)


def _fusion_words() -> list[str]:
    candidates = [(name, (), 0.5, "text") for name in ("base", *DOMAINS)]
    return [fusion_instructions(candidates)] * 10


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experts.pocket.train", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=weights_folder(), help="folder for the weights")
    parser.add_argument("--stage", choices=(*STAGES, *LATER, "all"), default="all")
    parser.add_argument("--again", action="store_true", help="train a stage although it is on disk")
    parser.add_argument("--further", action="store_true", help="train an adapter on disk for another round")
    parser.add_argument("--tokens", type=int, help="prompt and answer tokens a stage, instead of its own budget")
    parser.add_argument("--lesson", choices=LESSONS, help="of the fuser: this one alone")
    parser.add_argument("--answers", type=Path, help="of the fuser: folder of real answers (experts.pocket.sampling)")
    parser.add_argument("--compile", action="store_true", help="almost twice as fast on a CPU; needs a C++ compiler")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    return parser.parse_args()


def main() -> None:
    """Train the asked stages in order."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    chosen = arguments.device
    if chosen == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    workshop = Workshop(
        arguments.out,
        arguments.tokens,
        torch.device(chosen),
        arguments.further,
        arguments.compile,
        (arguments.lesson,) if arguments.lesson else LESSONS,
        sampled(arguments.out, arguments.answers) if arguments.answers else (),
    )
    for stage in STAGES if arguments.stage == "all" else (arguments.stage,):
        if arguments.again or arguments.further or not workshop.has(stage):
            train_stage(workshop, stage)


if __name__ == "__main__":
    main()
