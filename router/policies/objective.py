"""Quality against cost and time: what an answer is expected to cost and take, and what that is worth.

    utility = c * quality - (1 - c) * COST_WORTH * cost / dearest cost - latency_weight * seconds

with c = `cost_quality`. At 1 cost does not count; at 0 nothing else does, among experts whose quality is
acceptable: no less than `acceptable` times the best registered expert's. Sweeping c traces the lower convex
hull of mean cost against mean quality (a Lagrangian, as in RouterBench, 2403.12031, and Avengers-Pro,
2508.12631). Costs are compared with the dearest registered expert's, never with those that happen to be
eligible, so leaving some out changes the order of no others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from experts.profile import Price, SkillProfile
from router.types import Load, Query

COST_WORTH = 0.2
"""Quality that saving the dearest expert's whole cost is worth when cost and quality count alike (c = 0.5)."""


@dataclass(frozen=True, slots=True)
class Economy:
    """What cost and time are worth where the request does not say.

    Args:
        cost_quality: 0 = cheapest acceptable, 1 = best regardless of cost.
        acceptable: share of the best registered expert's quality that is still acceptable.
        latency_weight: quality that a second of waiting costs.
        usual_output_tokens: length of an answer of an expert that was never measured.
        usd_per_billion_parameters: price per million tokens and billion active parameters of unpriced experts.
        dearest: the highest prices of all registered experts; None when nobody's is known.
    """

    cost_quality: float = 1.0
    acceptable: float = 0.7
    latency_weight: float = 0.0
    usual_output_tokens: float = 256
    usd_per_billion_parameters: float = 0.01
    dearest: Price | None = None


def price_of(profile: SkillProfile, economy: Economy) -> Price | None:
    """Return what the expert costs: its price, else by its active parameters; None when neither is known."""
    if profile.price is not None:
        return profile.price
    if profile.active_parameters_billions is None:
        return None
    each = profile.active_parameters_billions * economy.usd_per_billion_parameters
    return Price(each, each)


def dearest_price(profiles: Iterable[SkillProfile], economy: Economy) -> Price | None:
    """Return the highest input and output prices of these experts; None when nobody's is known."""
    prices = [price for profile in profiles if (price := price_of(profile, economy)) is not None]
    if not prices:
        return None
    return Price(max(p.input_per_million for p in prices), max(p.output_per_million for p in prices))


def expected_cost(profile: SkillProfile, query: Query, economy: Economy, longer: float = 1.0) -> float | None:
    """Return the expected USD of one answer, `longer` times as long as usual; None when no price is known."""
    price = profile.price or price_of(profile, economy)
    if price is None:
        return None
    written = (profile.output_tokens or economy.usual_output_tokens) * longer
    return _cost(price, query, written)


def cost_share(cost: float | None, query: Query, economy: Economy) -> float:
    """Return a cost as a share of the dearest expert's for this query; an unknown cost counts as the dearest."""
    if economy.dearest is None:
        return 0.0
    most = _cost(economy.dearest, query, economy.usual_output_tokens)
    return 0.0 if most <= 0 else 1.0 if cost is None else cost / most


def expected_latency(profile: SkillProfile, load: Load | None, longer: float = 1.0) -> float | None:
    """Return the expected ms to the whole answer, waiting for a place included; None when never measured.

    Calls beyond the expert's places wait for as many rounds of answers as there are places full of them.
    """
    lately = None if load is None else load.total_ms
    usual = profile.latency_ms if lately is None else lately
    if usual is None or load is None:
        return None if usual is None else usual * longer
    queued = max(0, load.in_flight + load.waiting + 1 - load.places)
    return usual * (longer + queued / load.places)


def utility(quality: float, share: float, latency_ms: float | None, cost_quality: float, economy: Economy) -> float:
    """Return what an answer of this quality is worth at this share of the dearest cost."""
    waiting = economy.latency_weight * latency_ms / 1000 if latency_ms else 0.0
    return cost_quality * quality - (1 - cost_quality) * COST_WORTH * share - waiting


def balance(query: Query, economy: Economy) -> float:
    """Return the `cost_quality` that holds for a query: its own, else the configured one."""
    asked = query.objective.cost_quality
    return economy.cost_quality if asked is None else asked


def over_limit(cost: float | None, latency_ms: float | None, query: Query) -> str | None:
    """Return why the request's hard limits leave an expert out, or None.

    A cost that nobody knows is over any limit; a latency that was never measured is not: somebody has to be
    asked first.
    """
    limits = query.objective
    if limits.max_cost_usd is not None:
        if cost is None:
            return f"its cost is unknown, the limit is {limits.max_cost_usd:g} USD"
        if cost > limits.max_cost_usd:
            return f"about {cost:.6f} USD, the limit is {limits.max_cost_usd:g} USD"
    if limits.max_latency_ms is not None and latency_ms is not None and latency_ms > limits.max_latency_ms:
        return f"about {latency_ms:.0f} ms, the limit is {limits.max_latency_ms:g} ms"
    return None


def _cost(price: Price, query: Query, written: float) -> float:
    if query.max_output_tokens is not None:
        written = min(written, query.max_output_tokens)
    return (query.prompt_tokens * price.input_per_million + written * price.output_per_million) / 1e6
