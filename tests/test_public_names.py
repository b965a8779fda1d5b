"""What `import cir` offers, and what it costs."""

import subprocess
import sys

import pytest

import cir


@pytest.mark.parametrize("name", cir.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(cir, name).__doc__
    assert name in dir(cir)


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="module 'cir' has no attribute 'mine'"):
        _ = cir.mine


def test_the_package_loads_no_library_until_a_name_is_used() -> None:
    loaded = "import sys, cir; print({'torch', 'numpy', 'h5py'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
