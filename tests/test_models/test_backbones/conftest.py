"""The tiny training of the engine's tests serves the networks' tests too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "test_engine"))
