"""Keep the mean number of experts near a target: the doubtful requests of late set the bar for the next one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from router.policies.selection import needs, threshold_for
from router.types import Query, RoutingDecision

WINDOW = 1000
LEAST = 30
EVERY = 20
"""Requests after which the threshold is set again."""
PATIENCE = 200
"""Requests over which experts that were asked too few or too many are made up for."""


class MeanExperts:
    """How many experts each request gets, so that on average it is `target`; None leaves requests alone.

    `most` is the highest number any request may get. Until `LEAST` requests were seen, each gets the target.
    """

    def __init__(self, target: float | None, most: int) -> None:
        self.target, self.most = target, most
        self._recent = np.zeros((WINDOW, max(0, most - 1)))
        self._seen = 0
        self._top_p = 1.0
        self._owed = 0.0

    def limited(self, query: Query) -> Query:
        """Return the query with as many experts as it should get; one that says `top_p` itself keeps it."""
        if self.target is None or query.max_experts <= 1 or query.top_p is not None:
            return query
        if self._seen < LEAST:
            return replace(query, max_experts=min(query.max_experts, round(self.target)))
        return replace(query, top_p=self._top_p)

    def decided(self, decision: RoutingDecision) -> None:
        """Remember how much weight the decision left to others."""
        if self.target is None or not decision.candidates:
            return
        found = needs([max(each.share, 1e-12) for each in decision.candidates], self.most)
        row = self._recent[self._seen % WINDOW]
        row[:] = 0.0
        row[: len(found)] = found
        taken = round(self.target) if self._seen < LEAST else 1 + int((row > 1 - self._top_p).sum())
        self._owed = min(PATIENCE / 2, max(-PATIENCE / 2, self._owed + self.target - taken))
        self._seen += 1
        if self._seen == LEAST or self._seen % EVERY == 0:
            wanted = max(1.0, self.target + self._owed / PATIENCE)
            threshold = threshold_for(self._recent[: min(self._seen, WINDOW)], wanted)
            self._top_p = min(1.0, max(1e-6, 1 - threshold))
