import subprocess
import sys
from pathlib import Path

HEAVY = ["dagster", "torch", "pandas", "pandera", "duckdb", "onnx", "pyarrow", "sklearn", "filelock", "redis"]


def test_an_app_imports_numpy_and_onnxruntime_alone():
    code = (
        "import sys, fti_assets.inference.serving.predictor, fti_assets.inference.serving.lookup; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
