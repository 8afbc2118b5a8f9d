import subprocess
import sys
from pathlib import Path

HEAVY = ["dagster", "torch", "pandas", "pandera", "duckdb", "onnx", "pyarrow", "sklearn", "filelock", "redis"]
LATE = ["logging", "fti_assets.core.addresses", "fti_assets.inference.serving.rollout.arms"]


def test_an_app_imports_numpy_and_onnxruntime_alone_and_late_what_few_need():
    code = (
        "import sys, fti_assets.inference.serving.predictor, fti_assets.inference.serving.lookup; "
        f"print([name for name in {HEAVY + LATE} if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
