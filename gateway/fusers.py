"""Who writes fused answers, and what is done with open questions, by what the fuser benchmark found. Keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from experts.fusing_exam import best_first
from experts.profile import FuserFigures
from experts.types import Domain, ExpertName
from gateway.catalogue import Catalogue
from gateway.catalogue.fusing import advised_strategy
from router.taxonomy import Taxonomy
from router.types import RoutingDecision


class Fusers:
    """Looks anew each time, so that what was just measured, here or by another process, holds for the next request.

    Args:
        catalogue: what was measured; borrowed.
        unfit: experts that cannot serve now.
        taxonomy: which domains a group's name means.
    """

    def __init__(
        self, catalogue: Catalogue, unfit: Callable[[], Mapping[ExpertName, str]], taxonomy: Callable[[], Taxonomy]
    ) -> None:
        self._catalogue, self._unfit, self._taxonomy = catalogue, unfit, taxonomy

    def best_first(self, decision: RoutingDecision) -> tuple[ExpertName, ...]:
        """Return the experts that were measured as fusers and can serve, the best in the query's domain first."""
        ranked = self.in_domain(topic(decision))
        unfit = self._unfit() if ranked else {}
        return tuple(name for name in ranked if name not in unfit)

    def in_domain(self, domain: Domain | None) -> tuple[ExpertName, ...]:
        """Return the experts that were measured as fusers, the best in a domain first; None: over all.

        Who was measured on a group counts in each of its domains, and the other way round.
        """
        experts = self._catalogue.registry.snapshot.values()
        figures = {each.name: each.profile.fusing for each in experts if each.profile.fusing}
        return best_first(figures, self._measured_as(domain, figures))

    def _measured_as(self, domain: Domain | None, figures: Mapping[ExpertName, FuserFigures]) -> Domain | None:
        """Return the label under which a domain was measured: its own, or one that overlaps with it."""
        labels = {label for each in figures.values() for label in each.expected}
        if domain is None or domain in labels:
            return domain
        taxonomy = self._taxonomy()
        wanted = set(taxonomy.expand([domain]))
        return next((label for label in sorted(labels) if wanted & set(taxonomy.expand([label]))), domain)

    def advice(self) -> str | None:
        """Return the strategy that was found to pay where answers cannot be compared; None while nobody measured."""
        found = self._catalogue.advice
        return None if found is None else advised_strategy(found.body)


def topic(decision: RoutingDecision) -> Domain | None:
    """Return what a query is about, if anything is known of that."""
    return max(decision.domains, key=lambda domain: decision.domains[domain], default=None)
