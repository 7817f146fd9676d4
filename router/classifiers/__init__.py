"""Classifiers: query -> domain scores. One file a kind, one line in the table.

`auto` is no kind: it takes the fitted head when that knows every domain the experts declare, and examples
otherwise, so that a new expert never needs training before it gets its first question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from experts.errors import ConfigError
from experts.profile import SkillProfile
from router.artifacts import SHIPPED, load_head
from router.classifiers.base import Classifier, EmbeddingClassifier, Head
from router.classifiers.blend import BlendHead
from router.classifiers.centroid import domains_in_play, fit_centroids
from router.config import RoutingConfig
from router.encoder import TextEncoder
from router.taxonomy import Taxonomy

__all__ = ["CLASSIFIERS", "Classifier", "Ground", "Head", "build_classifier"]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a classifier is built from."""

    config: RoutingConfig
    encoder: TextEncoder
    taxonomy: Taxonomy
    profiles: Sequence[SkillProfile] = ()


Build: TypeAlias = Callable[[Ground], Awaitable[Classifier]]


async def build_classifier(ground: Ground) -> Classifier:
    """Return the configured classifier, ready to classify.

    Raises:
        ConfigError: no such kind, or its artifact does not fit.
    """
    name = ground.config.classifier
    if name == "auto":
        name = "linear" if _head_suffices(ground) else "centroid"
    if name not in CLASSIFIERS:
        raise ConfigError(f"routing.classifier: there is no '{name}'; choose one of auto, {', '.join(CLASSIFIERS)}.")
    return await CLASSIFIERS[name](ground)


async def _linear(ground: Ground) -> Classifier:
    return EmbeddingClassifier("linear", ground.encoder, _head(ground), forgetting=ground.config.forgetting)


async def _centroid(ground: Ground) -> Classifier:
    examples = domains_in_play(ground.profiles, ground.taxonomy, ground.config.default)
    head = await fit_centroids(ground.encoder, examples)
    return EmbeddingClassifier("centroid", ground.encoder, head, forgetting=ground.config.forgetting)


def _artifact(config: RoutingConfig) -> Path:
    """Return the folder of the head: the configured one, unless that holds fitted policies only."""
    if not config.artifact:
        return SHIPPED
    folder = Path(config.artifact).expanduser()
    only_policies = (folder / "policies.json").is_file() and not (folder / "manifest.json").is_file()
    return SHIPPED if only_policies else folder


def _head(ground: Ground) -> BlendHead:
    """Return the fitted head; it is read again when its files are others: routers are built for every new expert."""
    folder = _artifact(ground.config)
    return _read_once(folder, ground.encoder.name, _stamps(folder))


@lru_cache(maxsize=4)
def _read_once(folder: Path, encoder: str, _stamps: tuple[tuple[int, int], ...]) -> BlendHead:
    return load_head(folder, encoder=encoder)[0]


def _stamps(folder: Path) -> tuple[tuple[int, int], ...]:
    """Return what changes when an artifact does; nothing for files that are not there, which reading complains of."""
    files = [folder / "manifest.json", folder / "head.safetensors"]
    found = [file.stat() for file in files if file.is_file()]
    return tuple((each.st_mtime_ns, each.st_size) for each in found)


def _head_suffices(ground: Ground) -> bool:
    """Tell whether the head was fitted for this encoder and knows every domain that some expert is for."""
    try:
        head = _head(ground)
    except ConfigError:
        if ground.config.artifact:
            raise
        return False
    specialists = [each for each in ground.profiles if each.expert != ground.config.default]
    by_examples = any(each.examples and not each.domains for each in specialists)
    declared = ground.taxonomy.expand(name for each in ground.profiles for name in each.domains)
    return not by_examples and set(declared) <= set(head.domains)


CLASSIFIERS: dict[str, Build] = {
    "centroid": _centroid,
    "linear": _linear,
}
