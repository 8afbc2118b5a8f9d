"""Compile the gRPC messages: ``pip install grpcio-tools`` into an environment of its own, and there ``python -m scripts.protocol``."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "fti_assets" / "inference" / "server" / "messages"


def main() -> None:
    """Write ``inference.binpb``, the descriptor of ``inference.proto``."""
    output = f"--descriptor_set_out={FOLDER / 'inference.binpb'}"
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{FOLDER}", output, "inference.proto"], check=True)


if __name__ == "__main__":
    main()
