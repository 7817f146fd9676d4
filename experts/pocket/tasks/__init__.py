"""The tasks of every domain: a new kind of question is one entry in its domain's list.

`numerals` is a domain that no shipped expert knows (`experts.pocket.exam.DOMAINS` are those that ship).
"""

from __future__ import annotations

from collections.abc import Mapping

from experts.pocket.question import Task
from experts.pocket.tasks import arithmetic, coding, geography, language, numerals, science

TASKS: Mapping[str, tuple[Task, ...]] = {
    "math": arithmetic.TASKS,
    "code": coding.TASKS,
    "science": science.TASKS,
    "geography": geography.TASKS,
    "language": language.TASKS,
    "numerals": numerals.TASKS,
}
