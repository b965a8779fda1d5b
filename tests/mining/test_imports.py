"""What imports load: seconds that a command need not wait for, libraries it need not have."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

FILES_AND_PICTURES = {"pyarrow", "h5py", "open_clip", "matplotlib", "faiss", "pandas"}
ENCODERS = {"open_clip", "torchvision", "transformers", "timm"}
STAGES = ("mine", "train", "evaluate", "report", "check", "inspect", "export")
"""Those that work on stored vectors, if the encoder is not tuned."""

_SCRIPT = f"""
import json, sys
import cir.mining
mining = {{name.partition(".")[0] for name in sys.modules}}
for stage in {STAGES}:
    __import__(f"pipeline.{{stage}}")
print(json.dumps([[*mining], [name.partition(".")[0] for name in sys.modules]]))
"""


@pytest.fixture(scope="module")
def loaded() -> list[set[str]]:
    """The libraries that mining loads, then those that the stages load."""
    said = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, check=True).stdout
    return [set(names) for names in json.loads(said)]


def test_mining_arrays_loads_no_library_of_files_or_pictures(loaded: list[set[str]]) -> None:
    assert not loaded[0] & (FILES_AND_PICTURES | ENCODERS)
    assert "torch" in loaded[0]


def test_stages_on_stored_vectors_load_no_library_of_encoders(loaded: list[set[str]]) -> None:
    assert not loaded[1] & ENCODERS
    assert "h5py" in loaded[1]
