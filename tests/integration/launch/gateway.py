"""What a gateway does with a fleet, as a process of its own, so that a test can kill it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from experts.config import ExpertConfig
from experts.launch import Fleet, find_environment, plan_servers

EXPERTS = [
    {"name": "tiny", "backend": "vllm", "launch": {"model": "./base", "args": ["--max-model-len", "256"]}},
    {"name": "tiny-math", "adapter": {"base": "tiny", "path": "math"}},
]


async def main(root: Path) -> None:
    """Run the tiny expert and its adapter until killed; print the base URL, then `ready`."""
    environment = find_environment()
    assert environment is not None
    specs = plan_servers([ExpertConfig.model_validate(expert) for expert in EXPERTS], root, environment)
    async with Fleet(specs, environment) as fleet:
        print(fleet.base_url("tiny-math"), flush=True)
        await fleet.wait_ready()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
