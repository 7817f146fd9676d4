"""Who names whom. A change that would leave somebody with a stand-in, a base or a task that nobody does is refused.

Two processes can still change two ends at once; `mended` makes what then comes out usable. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from experts.types import ExpertName
from gateway.catalogue.records import Entry
from gateway.configuration import GatewayConfig
from gateway.errors import ExpertInUse, InvalidRequest

Entries = Mapping[ExpertName, Entry]


class Reference(NamedTuple):
    """One expert, or a section of the file, names an expert in a field."""

    by: str
    field: str
    name: ExpertName


def roles_of(config: GatewayConfig) -> dict[str, ExpertName]:
    """Return the experts that the file gives a task to, by its key."""
    named = {
        "routing.default": config.routing.default,
        "routing.llm.expert": config.routing.llm.expert,
        "routing.learning.judge.expert": config.routing.learning.judge.expert,
        **config.fusion.experts(),
    }
    return {key: name for key, name in named.items() if name is not None}


def references(entries: Entries) -> Iterator[Reference]:
    """Yield whom the experts name."""
    for name, entry in entries.items():
        yield from (Reference(name, "fallback", other) for other in entry.config.fallback)
        if entry.config.adapter is not None:
            yield Reference(name, "adapter.base", entry.config.adapter.base)


def check_change(before: Entries, after: Entries, changed: ExpertName, roles: Mapping[str, ExpertName]) -> None:
    """Refuse a change after which somebody names nobody.

    Raises:
        InvalidRequest: the changed record does itself; `param` is the field.
        ExpertInUse: another expert, or a section of the file, needs the expert as it was.
    """
    gone = {*before} - {*after}
    for reference in references(after):
        if reference.by == changed:
            _check_own(reference, after)
        elif reference.name in gone:
            raise ExpertInUse(
                f"Expert '{reference.by}' names '{reference.name}' as its {reference.field}: change it first."
            )
    for key, name in roles.items():
        if name in gone:
            raise ExpertInUse(f"{key} of the configuration names '{name}': change it there first.")
    _check_base(after, changed)


def _check_own(reference: Reference, after: Entries) -> None:
    if reference.name == reference.by:
        raise InvalidRequest(f"{reference.field}: '{reference.by}' names itself.", param=reference.field)
    if reference.name not in after:
        known = ", ".join(name for name in after if name != reference.by)
        raise InvalidRequest(
            f"{reference.field}: there is no expert '{reference.name}'; there are {known}.", param=reference.field
        )
    base = after[reference.name].config.adapter
    if reference.field == "adapter.base" and base is not None:
        raise InvalidRequest(
            f"adapter.base: '{reference.name}' is an adapter itself, on '{base.base}'.", param=reference.field
        )


def _check_base(after: Entries, changed: ExpertName) -> None:
    """Refuse to turn the base of others into an adapter."""
    if changed not in after or after[changed].config.adapter is None:
        return
    riders = [each.by for each in references(after) if each.field == "adapter.base" and each.name == changed]
    if riders:
        raise ExpertInUse(f"'{changed}' is the base of {', '.join(riders)}, so it cannot be an adapter itself.")


def mended(entries: Entries) -> tuple[dict[ExpertName, Entry], list[Reference]]:
    """Return the experts without references to nobody, and those that were left out: a stand-in, or a whole adapter."""
    lost = [each for each in references(entries) if not _holds(each, entries)]
    baseless = {each.by for each in lost if each.field == "adapter.base"}
    kept = {name: entry for name, entry in entries.items() if name not in baseless}
    if baseless:
        again, more = mended(kept)
        return again, [*(each for each in lost if each.by in baseless), *more]
    for name in {each.by for each in lost}:
        config = kept[name].config
        stand_ins = [other for other in config.fallback if other in kept]
        kept[name] = replace(kept[name], config=config.model_copy(update={"fallback": stand_ins}))
    return kept, lost


def _holds(reference: Reference, entries: Entries) -> bool:
    if reference.name not in entries:
        return False
    return reference.field != "adapter.base" or entries[reference.name].config.adapter is None
