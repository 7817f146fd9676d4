"""Other endpoints than chat: a request goes to an expert's server as the client wrote it, and its answer comes back.

The decision, limits, deadlines, retries and accounts are chat's own; what is different is that no byte is touched that
does not have to be: the model's name, which each side calls otherwise, and `routing`, which is for us.
"""

from gateway.passing.answering import passed_on
from gateway.passing.errors import refusal_type, shaped

__all__ = ["passed_on", "refusal_type", "shaped"]
