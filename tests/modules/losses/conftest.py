"""The naive objective is read by these tests and by the script that runs as two ranks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
