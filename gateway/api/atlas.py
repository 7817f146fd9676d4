"""GET /admin/decisions/map: recent queries and experts' examples in two dimensions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray

from experts.profile import SkillProfile
from experts.types import ExpertName
from gateway.atlas import Layout, laid_out
from gateway.decisions import SHOWN, Remembered
from gateway.deps import AdminDep, ServicesDep
from gateway.services import Services
from router.encoder import Vectors
from router.taxonomy import Taxonomy

api = APIRouter()
EXAMPLES_OF_ONE = 16
Example = tuple[ExpertName, str, bool]
"""Whose it is, its text, and whether the expert brings it itself or has it from one of its domains."""


@api.get("/admin/decisions/map")
async def decisions_map(services: ServicesDep, admin: AdminDep) -> dict[str, Any]:
    """Lay out the queries of the last decisions and every expert's examples; prompts only where they are kept."""
    entries = [entry for entry in services.feedback.decisions.latest(SHOWN) if entry.vector is not None]
    router, texts = services.pipeline.router, services.config.routing.learning.keep_prompts
    examples = list(examples_of(services.registry.profiles, router.context.taxonomy))
    asked = [entry.vector for entry in entries if entry.vector is not None]
    shown = await encoded([text for _, text, _ in examples], services)
    groups = [*(None for _ in asked), *(expert for expert, _, _ in examples)]
    layout = await asyncio.to_thread(laid_out, [*asked, *shown], groups)
    return {
        "object": "map",
        "encoder": getattr(router.encoder, "name", None),
        "explained": layout.explained,
        "queries": [shown_query(entry, layout, row, texts=texts) for row, entry in enumerate(entries)],
        "examples": [shown_example(each, layout, len(entries) + row) for row, each in enumerate(examples)],
    }


def examples_of(profiles: tuple[SkillProfile, ...], taxonomy: Taxonomy) -> Iterator[Example]:
    """Yield the examples that each expert brings, or where it brings none those of its domains."""
    for profile in profiles:
        domains = [text for name in profile.domains for text in taxonomy.examples(name)]
        for text in (profile.examples or domains)[:EXAMPLES_OF_ONE]:
            yield profile.expert, text, bool(profile.examples)


async def encoded(texts: list[str], services: Services) -> list[NDArray[np.float32]]:
    """Return the texts' vectors; nothing where there is no encoder or no text."""
    encoder = services.pipeline.router.encoder
    if encoder is None or not texts:
        return []
    found: Vectors = await encoder.encode(texts)
    return list(found)


def shown_query(entry: Remembered, layout: Layout, row: int, *, texts: bool) -> dict[str, Any]:
    """Return one query as JSON."""
    decision, (x, y) = entry.decision, layout.places[row]
    shown: dict[str, Any] = {
        "request_id": entry.request_id,
        "at": round(entry.at, 3),
        "x": x,
        "y": y,
        "expert": None if decision is None else decision.assignments[0].expert,
        "domain": max(entry.domains, key=lambda domain: entry.domains[domain], default=None),
        "confidence": None if decision is None else round(decision.confidence, 4),
        "score": None if entry.opinion is None else entry.opinion.score,
    }
    return {**shown, "prompt": entry.prompt} if texts else shown


def shown_example(example: Example, layout: Layout, row: int) -> dict[str, Any]:
    """Return one example as JSON."""
    expert, text, own = example
    x, y = layout.places[row]
    return {"expert": expert, "text": text, "own": own, "x": x, "y": y}
