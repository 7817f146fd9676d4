"""Start vLLM servers on this machine, keep them running, and leave nothing behind.

find_environment / create_environment    the Python that runs vLLM
plan_servers -> ServerSpec               which servers the configured experts need
Fleet(specs, environment)                started, supervised, asked, stopped
LocalRuntime(root, backend)              told which experts there should be, makes it so
"""

from __future__ import annotations

from experts.launch.checks import Check, all_checks, check_port
from experts.launch.environment import VllmEnvironment, created_environment, find_environment
from experts.launch.fleet import Fleet
from experts.launch.gpus import Gpu, visible_gpus
from experts.launch.installation import create_environment
from experts.launch.plan import plan_servers
from experts.launch.process import ServerProgress, ServerState, SupervisedServer
from experts.launch.runtime import LocalRuntime, Runtime
from experts.launch.server_log import Stage
from experts.launch.state import log_path, state_folder
from experts.launch.supervision import Patience
from experts.launch.vllm import Adapter, Hardware, ServerSpec, command_line

__all__ = [
    "Adapter",
    "Check",
    "Fleet",
    "Gpu",
    "Hardware",
    "LocalRuntime",
    "Patience",
    "Runtime",
    "ServerProgress",
    "ServerSpec",
    "ServerState",
    "Stage",
    "SupervisedServer",
    "VllmEnvironment",
    "all_checks",
    "check_port",
    "command_line",
    "create_environment",
    "created_environment",
    "find_environment",
    "log_path",
    "plan_servers",
    "state_folder",
    "visible_gpus",
]
