"""The images: good Dockerfiles, every dependency at the version that is tested, no file of ours left out."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.compose_file import ROOT

DOCKERFILES = [*sorted((ROOT / "deploy").glob("*.Dockerfile")), ROOT / "deploy/ray/Dockerfile"]
LEFT_OUT = {"torch", "sentence-transformers"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    lines = (line.partition("==") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {normal(name): version.strip() for name, _, version in lines}


def needed(distribution: str, extras: frozenset[str], found: set[str]) -> set[str]:
    """Return what a distribution needs on this machine, and what that needs, but for what the image leaves out."""
    for text in metadata.requires(distribution) or []:
        wanted = Requirement(text)
        name = normal(wanted.name)
        applies = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in {"", *extras})
        if applies and name not in found | LEFT_OUT:
            found.add(name)
            needed(name, frozenset(wanted.extras), found)
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_breaks_no_rule(path: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([linter, path], capture_output=True, text=True, timeout=60)

    assert (0, "") == (said.returncode, said.stdout + said.stderr)


def test_the_gateways_image_installs_all_it_needs_and_nothing_else() -> None:
    listed = pins(ROOT / "deploy/gateway.requirements.txt")

    assert needed("consilium", frozenset({"otel"}), set()) == listed.keys()


def test_the_gateways_image_has_the_versions_that_are_tested() -> None:
    tested = pins(ROOT / "requirements/constraints.txt")
    listed = pins(ROOT / "deploy/gateway.requirements.txt")

    assert {name: tested.get(name) for name in listed} == listed


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_copies_is_there_and_not_ignored(path: Path) -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    lines = re.findall(r"^COPY (?!--)(.+)$", path.read_text(), flags=re.MULTILINE)
    copied = [source for line in lines for source in line.split()[:-1]]

    assert copied
    assert [] == [source for source in copied if not (ROOT / source).exists()]
    assert [] == [source for source in copied if not any(source == k or source.startswith(f"{k}/") for k in kept)]


def test_every_file_of_the_rooms_is_in_the_package() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    rooms = ("aggregator", "experts", "gateway", "router")
    tracked = subprocess.run(["git", "ls-files", *rooms], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [name for name in tracked.stdout.splitlines() if not name.endswith(".py")]

    assert len(files) > 20
    assert [] == [name for name in files if not any(fnmatch(Path(name).name, pattern) for pattern in patterns)]
