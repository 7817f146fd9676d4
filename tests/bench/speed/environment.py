"""An environment for what we compare with and never depend on; it borrows torch and the rest from ours."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from experts.launch.state import state_folder

PACKAGES = ("semantic-router==1.1.1", "onnx==1.23.2", "onnxruntime==1.31.1")


def bench_python() -> Path:
    """Return the Python of the bench's environment, which is made on first use (a minute, from the package index)."""
    folder = state_folder() / "bench-router-speed"
    python, done = folder / "bin" / "python", folder / ".done"
    if not done.is_file() or done.read_text() != " ".join(PACKAGES):
        print(f"making {folder} with {', '.join(PACKAGES)}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "--quiet", "install", *PACKAGES], check=True, stderr=subprocess.DEVNULL)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        borrowed = folder / "lib" / version / "site-packages" / "zz_ours.pth"
        borrowed.write_text(sysconfig.get_paths()["purelib"] + "\n")
        done.write_text(" ".join(PACKAGES))
    return python
