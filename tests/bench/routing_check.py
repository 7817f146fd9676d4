"""A named check of a paper's effect: what it asks, what was found, whether that suffices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """`passed` is None where nothing is asked, or the check cannot be made on outcome tables."""

    paper: str
    asks: str
    found: str
    passed: bool | None = None

    def line(self) -> str:
        """Return the check as a line of the report."""
        mark = {True: "ok  ", False: "MISS", None: "    "}[self.passed]
        return f"{mark} {self.paper:26} {self.asks:58} {self.found}"


def points(*shares: float, sign: bool = False) -> str:
    """Return fractions in points, separated by slashes."""
    return " / ".join(f"{100 * share:{'+' if sign else ''}.2f}" for share in shares)


NOT_FROM_TABLES = (
    ("MEXA", "hard filters on modality and skill are contract tests of the policies"),
    ("Composition of Experts", "the fallback out of distribution needs outcomes on other sources for the same experts"),
    ("PHATGOOSE", "its isolated gates are the row `logistic`: one regression an expert, nothing shared"),
    ("ExpertWeave", "adapters sharing a base are a matter of the scheduler, not of outcomes"),
    ("KAT-V1", "the tables hold no model with its thinking on and off"),
    ("Read-ME, MoETuner", "loads, waiting and placement need a replay of arrivals, not outcomes"),
    ("Branch-Train-Merge", "posterior by turn: `python -m router.training.simulate`"),
    ("Nexus", "a start from a description alone needs experts' cards, which the tables do not have"),
    ("OpenAGI, TaskMatrix", "planning and tools need running experts"),
    ("CooK, Medprompt", "advisers' texts, shuffled options need running experts"),
)
