#!/usr/bin/env python
"""The commands of the peer node. Works from any folder: it looks for its own modules beside itself."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command that the arguments name."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    # Set, not defaulted: a variable left over from another Django project must not choose our settings.
    os.environ["DJANGO_SETTINGS_MODULE"] = "node.settings"
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        settings.INSTALLED_APPS  # noqa: B018 - the first access loads the settings
    except ImproperlyConfigured as error:
        # Whoever starts a node needs the sentence, not the traceback around it.
        sys.exit(f"manage.py: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
