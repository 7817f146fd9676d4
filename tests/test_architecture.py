"""The house plan, held: import directions, doors, error rows, and the size of what one must read at once."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from experts.errors import ExpertError, ServiceError
from gateway.errors import STATUS, error_body, wire

ROOT = Path(__file__).parent.parent
ROOMS = ("aggregator", "experts", "gateway", "router")
LONGEST_FILE, P90_BODY, BROAD_EXCEPTS = 400, 25, 1


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or first.lineno) - first.lineno + 1


def test_import_directions_hold() -> None:
    linter = subprocess.run([sys.executable, "-m", "importlinter.cli"], cwd=ROOT, capture_output=True, text=True)

    assert 0 == linter.returncode, linter.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_opens_to_what_it_lists_and_nothing_twice(room: str) -> None:
    door = importlib.import_module(room)

    assert len(door.__all__) == len(set(door.__all__)) > 0
    assert [] == [name for name in door.__all__ if not hasattr(door, name)]


@pytest.mark.parametrize("room", ROOMS)
def test_opening_a_door_does_not_load_torch(room: str) -> None:
    loaded = f"import sys, {room}; sys.exit(bool({{'torch', 'sentence_transformers', 'vllm'}} & set(sys.modules)))"

    assert 0 == subprocess.run([sys.executable, "-c", loaded], cwd=ROOT).returncode


def test_nine_functions_of_ten_fit_on_half_a_screen() -> None:
    sizes = sorted(body_lines(function) for _, function in functions())

    assert sizes[int(len(sizes) * 0.9)] < P90_BODY


def test_no_file_moves_a_second_thing_in() -> None:
    assert [] == [str(path) for path in sources() if len(path.read_text().splitlines()) > LONGEST_FILE]


def test_broad_excepts_are_counted() -> None:
    handlers = [
        (path, node.lineno)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]

    assert len(handlers) <= BROAD_EXCEPTS, handlers


def test_every_public_function_and_class_says_what_it_does() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]

    assert [] == silent


def family(kind: type[ServiceError]) -> set[type[ServiceError]]:
    return {kind}.union(*(family(child) for child in kind.__subclasses__()))


def answered_over_http() -> list[type[ServiceError]]:
    kinds = [kind for kind in family(ServiceError) if not kind.__module__.startswith("gateway.cli")]
    return sorted(kinds, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", answered_over_http())
def test_every_error_has_a_status_of_its_own_or_of_its_parent(kind: type[ServiceError]) -> None:
    assert set(kind.__mro__[:-2]) & set(STATUS) - {ServiceError} or kind is ServiceError


def test_an_experts_error_names_the_expert() -> None:
    error = error_body(ExpertError("math", "gone"))["error"]

    assert ("math", "gone", 502) == (error["expert"], error["message"], wire(ExpertError("math", "gone")).status)
