"""The sample project's commands, with the settings of a node that meets faults."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3] / "peer")]
    os.environ["DJANGO_SETTINGS_MODULE"] = "faulty"
    execute_from_command_line(sys.argv)
