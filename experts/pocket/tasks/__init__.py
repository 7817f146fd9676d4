"""The tasks of every domain: a new kind of question is one entry in its domain's list."""

from __future__ import annotations

from collections.abc import Mapping

from experts.pocket.question import Task
from experts.pocket.tasks import arithmetic, coding, geography, language, science

TASKS: Mapping[str, tuple[Task, ...]] = {
    "math": arithmetic.TASKS,
    "code": coding.TASKS,
    "science": science.TASKS,
    "geography": geography.TASKS,
    "language": language.TASKS,
}
