"""Which experts should answer a query, and how sure are we? The room's door: behaviour from here, words from
`router.types`. Importing it loads neither torch nor a model.
"""

from router.classifiers import CLASSIFIERS
from router.config import RoutingConfig
from router.conversation import modalities
from router.encoder import Encoder, EncoderFacts
from router.policies import POLICIES
from router.router import Router
from router.taxonomy import Taxonomy, default_taxonomy

__all__ = [
    "CLASSIFIERS",
    "POLICIES",
    "Encoder",
    "EncoderFacts",
    "Router",
    "RoutingConfig",
    "Taxonomy",
    "default_taxonomy",
    "modalities",
]
