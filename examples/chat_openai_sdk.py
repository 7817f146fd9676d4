"""Ask a gateway with the OpenAI SDK: routed, streamed, by name, and several experts fused into one answer.

pip install openai
python chat_openai_sdk.py "What is 417 plus 268?"
"""

from __future__ import annotations

import os
import sys

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("CONSILIUM_URL", "http://127.0.0.1:8400") + "/v1",
    api_key=os.environ.get("CONSILIUM_API_KEY", "unused"),
)


def main(question: str) -> None:
    """Ask one question in four ways."""
    messages = [{"role": "user", "content": question}]

    routed = client.chat.completions.create(model="auto", messages=messages)
    print(f"routed to {routed.model}: {routed.choices[0].message.content}")

    print("streamed: ", end="")
    for chunk in client.chat.completions.create(model="auto", messages=messages, stream=True):
        print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)
    print()

    named = client.chat.completions.create(model=routed.model, messages=messages)
    print(f"asked {named.model} by name: {named.choices[0].message.content}")

    options = {"routing": {"fusion": "vote", "max_experts": 2, "explain": True}}
    fused = client.chat.completions.create(model="council", messages=messages, extra_body=options)
    asked = [candidate["expert"] for candidate in fused.model_extra["fusion"]["candidates"]]
    print(f"fused from {', '.join(asked)}: {fused.choices[0].message.content}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "What is 417 plus 268?")
