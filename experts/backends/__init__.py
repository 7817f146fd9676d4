"""Speak one kind of server's protocol. BACKENDS maps the `backend:` of an expert to the class that can."""

from experts.backends.base import Backend
from experts.backends.client import make_client
from experts.backends.openai import OpenAIBackend
from experts.backends.vllm import VllmBackend

BACKENDS: dict[str, type[OpenAIBackend]] = {"openai": OpenAIBackend, "vllm": VllmBackend}

__all__ = ["BACKENDS", "Backend", "OpenAIBackend", "VllmBackend", "make_client"]
