"""Text -> unit vectors: batched, cached, never on the event loop.

base.py                   what an encoder promises
batching.py               Encoder: one worker thread, batches that form while it is busy, a cache
runtimes.py               which runtime embeds: a plain BERT by bert.py, all else by sentence_transformer.py
graph.py                  BERT written in OpenVINO's operations; ranges.py, int8.py: the same in bytes
folder.py                 what a model's folder holds
"""

from router.encoder.base import Embed, EncoderFacts, TextEncoder, Vectors
from router.encoder.batching import Encoder
from router.encoder.folder import model_folder
from router.encoder.runtimes import load_encoder
from router.encoder.sentence_transformer import load_sentence_transformer

__all__ = [
    "Embed",
    "Encoder",
    "EncoderFacts",
    "TextEncoder",
    "Vectors",
    "load_encoder",
    "load_sentence_transformer",
    "model_folder",
]
