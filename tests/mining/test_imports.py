"""What `import cir.mining` loads: arithmetic alone, none of the libraries of files and pictures."""

import subprocess
import sys

FOREIGN = ("pyarrow", "h5py", "open_clip", "matplotlib", "faiss", "pandas", "torchvision")


def test_mining_arrays_loads_no_library_of_files_or_pictures() -> None:
    script = f"import sys, cir.mining; print(*(n for n in {FOREIGN} if n in sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
