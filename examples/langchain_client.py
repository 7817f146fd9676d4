"""Consilium as a chat model of LangChain: in a chain, streamed, with routing options.

pip install langchain-openai
python langchain_client.py "What is 417 plus 268?"
"""

from __future__ import annotations

import os
import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="auto",
    base_url=os.environ.get("CONSILIUM_URL", "http://127.0.0.1:8400") + "/v1",
    api_key=os.environ.get("CONSILIUM_API_KEY", "unused"),
    extra_body={"routing": {"cost_quality": 1.0}},
)


def main(question: str) -> None:
    """Run one chain, and stream the same question."""
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | model
    answer = chain.invoke({"question": question})
    print(f"{answer.response_metadata['model_name']}: {answer.content}")

    print("streamed: ", end="")
    for piece in (model | StrOutputParser()).stream(question):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "What is 417 plus 268?")
