import sys
from pathlib import Path

# The runs of the tiny config.
sys.path.insert(0, str(Path(__file__).parents[1] / "test_engine"))
