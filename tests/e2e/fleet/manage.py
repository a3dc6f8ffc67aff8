"""A node of a fleet whose nodes are not all at the same release: RELEASE says at which this one is."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["DJANGO_SETTINGS_MODULE"] = "project"
    execute_from_command_line(sys.argv)
