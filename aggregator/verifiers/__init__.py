"""Ways to check an answer before a stronger expert is asked. VERIFIERS maps `fusion.cascade.verifier` to the check.

base.py what each promises     signs.py agreement.py consistency.py probabilities.py judge.py: one check each
"""

from aggregator.verifiers.agreement import Agreement
from aggregator.verifiers.base import Inquiry, Verifier
from aggregator.verifiers.consistency import SelfConsistency
from aggregator.verifiers.judge import Judge
from aggregator.verifiers.probabilities import Probabilities
from aggregator.verifiers.signs import Signs

VERIFIERS: dict[str, Verifier] = {
    verifier.name: verifier for verifier in (Agreement(), Judge(), Probabilities(), SelfConsistency(), Signs())
}

__all__ = ["VERIFIERS", "Inquiry", "Verifier"]
