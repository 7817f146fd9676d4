"""Ways to make one answer of several. STRATEGIES maps the name in a request to the strategy."""

from aggregator.strategies.auto import Auto
from aggregator.strategies.base import Strategy
from aggregator.strategies.cascade import Cascade
from aggregator.strategies.decompose import Decompose
from aggregator.strategies.knowledge import Knowledge
from aggregator.strategies.panel import Panel
from aggregator.strategies.rank import Rank
from aggregator.strategies.refine import Refine
from aggregator.strategies.self import Self
from aggregator.strategies.single import Single
from aggregator.strategies.synthesize import Synthesize
from aggregator.strategies.vote import Vote

_OTHERS: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Cascade(),
        Decompose(),
        Knowledge(),
        Panel(),
        Rank(),
        Refine(),
        Self(),
        Single(),
        Synthesize(),
        Vote(),
    )
}
STRATEGIES: dict[str, Strategy] = {Auto.name: Auto(_OTHERS), **_OTHERS}

__all__ = ["STRATEGIES", "Strategy"]
