"""What one vLLM server is, and the command line that starts it. Pure: a value in, a command out.

An expert that runs on its own is a server with no adapters; LoRA experts ride on their base expert's server,
each under its own model name. An operator's `args` and `env` come after ours and win.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from experts.launch.environment import VllmEnvironment

HOST = "127.0.0.1"
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values vLLM takes for --max-lora-rank."""
MOST_ADAPTERS_IN_ONE_BATCH = 8


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA weights of one expert: the model name they are served under, their folder and rank."""

    expert: str
    served_name: str
    folder: Path
    rank: int


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a server may use: GPUs by index and the fraction of their memory, or CPU threads."""

    gpus: tuple[int, ...] = ()
    gpu_memory_fraction: float | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """One vLLM server: the base expert `name`, its model (a folder or a hub name) and who rides on it.

    `places` is how many adapters are loaded at once, `adapter_rank` the largest rank that will come; both are at
    least what `adapters` need, unless fewer places are given: then the first of them are loaded at the start.
    `sleeps`: it is started so that it can be put to sleep (a GPU's only). A server that listens beyond this machine
    has an `api_key`, and none of the routes that change what it runs.
    """

    name: str
    model: str
    served_name: str
    port: int
    host: str = HOST
    api_key: str = field(default="", repr=False)
    adapters: tuple[Adapter, ...] = ()
    places: int | None = None
    adapter_rank: int = 0
    sleeps: bool = False
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    hardware: Hardware = Hardware()
    start_timeout_seconds: float = 600

    @property
    def address(self) -> str:
        """The server's root, without a slash at the end and without /v1."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client calls base_url."""
        return f"{self.address}/v1"

    @property
    def experts(self) -> tuple[str, ...]:
        """Every expert that answers here, the base first."""
        return (self.name, *(adapter.expert for adapter in self.adapters))

    @property
    def adapter_places(self) -> int:
        """How many adapters are loaded at once; 0: the server takes none."""
        return len(self.adapters) if self.places is None else self.places

    @property
    def loaded_at_start(self) -> tuple[Adapter, ...]:
        """The adapters the server loads before it is ready."""
        return self.adapters[: self.adapter_places]

    @property
    def most_rank(self) -> int:
        """The largest rank of an adapter the server can take; 0: it takes none."""
        ranks = [self.adapter_rank, *(adapter.rank for adapter in self.loaded_at_start)]
        return lora_rank(max(ranks)) if self.adapter_places else 0


def command_line(spec: ServerSpec, environment: VllmEnvironment) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the server, and the variables to set on top of our own environment."""
    on_device = {"cpu": _on_cpu, "gpu": _on_gpu}[environment.kind]
    device_args, device_env = on_device(spec.hardware)
    argv = [
        *(str(environment.python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", spec.model, "--served-model-name", spec.served_name),
        *("--host", spec.host, "--port", str(spec.port)),
        "--disable-uvicorn-access-log",
        *device_args,
        *_lora_args(spec, environment),
        *(["--enable-sleep-mode"] if _can_sleep(spec, environment) else []),
        *spec.args,
    ]
    return argv, {**_privacy_env(spec), **device_env, **_admin_env(spec, environment), **spec.env}


def _on_cpu(hardware: Hardware) -> tuple[list[str], dict[str, str]]:
    """Nothing is compiled (the first log probabilities would wait half a minute for it); threads are unbound.

    Bound threads of two servers would share a core while another idles, and only bound ones need the worker
    in a process of its own.
    """
    args = ["--enforce-eager", "--dtype", "bfloat16", "--max-num-seqs", "16"]
    threads = str(hardware.threads)
    return args, {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "TORCH_COMPILE_DISABLE": "1",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }


def _on_gpu(hardware: Hardware) -> tuple[list[str], dict[str, str]]:
    args: list[str] = []
    if len(hardware.gpus) > 1:
        args += ["--tensor-parallel-size", str(len(hardware.gpus))]
    if hardware.gpu_memory_fraction is not None:
        args += ["--gpu-memory-utilization", f"{hardware.gpu_memory_fraction:.3f}"]
    visible = ",".join(str(index) for index in hardware.gpus)
    return args, {"CUDA_VISIBLE_DEVICES": visible} if visible else {}


def _lora_args(spec: ServerSpec, environment: VllmEnvironment) -> list[str]:
    count = spec.adapter_places
    if not count:
        return []
    modules = [
        json.dumps({"name": a.served_name, "path": str(a.folder), "base_model_name": spec.served_name})
        for a in spec.loaded_at_start
    ]
    # vLLM's CPU kernels index adapters by slot and take -1, "no adapter", for the last slot: one more slot than
    # adapters stays empty, or the base would answer with the last adapter's weights. The GPU kernels skip -1.
    slots = min(count, MOST_ADAPTERS_IN_ONE_BATCH) if environment.kind == "gpu" else count + 1
    return [
        "--enable-lora",
        *("--max-lora-rank", str(spec.most_rank)),
        *("--max-loras", str(slots), "--max-cpu-loras", str(max(count, slots))),
        *(("--lora-modules", *modules) if modules else ()),
    ]


def lora_rank(rank: int) -> int:
    """Return the smallest --max-lora-rank that holds adapters of this rank."""
    return next((allowed for allowed in LORA_RANKS if allowed >= rank), LORA_RANKS[-1])


def _admin_env(spec: ServerSpec, environment: VllmEnvironment) -> dict[str, str]:
    """Let adapters come and go and the server sleep; it listens on loopback only.

    Freeing a slot on a CPU and sleeping are among vLLM's routes for development.
    """
    env = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if spec.adapter_places else {}
    frees_slots = spec.adapter_places and environment.kind == "cpu"
    return {**env, "VLLM_SERVER_DEV_MODE": "1"} if frees_slots or _can_sleep(spec, environment) else env


def _can_sleep(spec: ServerSpec, environment: VllmEnvironment) -> bool:
    return spec.sleeps and environment.kind == "gpu"


def _privacy_env(spec: ServerSpec) -> dict[str, str]:
    """Send no usage statistics; ask no model hub when the model is a folder."""
    env = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
    if Path(spec.model).is_absolute():
        env["HF_HUB_OFFLINE"] = "1"
    return env
