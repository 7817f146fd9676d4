"""Which experts exist, how is one asked, where does it run? Vocabulary is imported from its own modules."""

from experts.dispatcher import Dispatcher
from experts.registry import Expert, Registry, Replica

__all__ = ["Dispatcher", "Expert", "Registry", "Replica"]
