"""Where the reference captures are; tests that need one skip where it is not."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("MINEWATCH_REFERENCE_DATA", Path(__file__).parents[2] / "../shared/data"))


def reference(name):
    """The path of a reference file."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"reference data {name} is not here")
    return path
