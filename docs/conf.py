"""Sphinx settings: MyST Markdown pages, the furo theme."""

import re
from pathlib import Path

_source = (Path(__file__).resolve().parent.parent / "handleref_sync" / "__init__.py").read_text()

project = "handleref_sync"
release = version = re.search(r'__version__ = "([^"]+)"', _source)[1]
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"handleref_sync {release}"
# Headings can be linked to from other pages, as in `protocol.md#limits`.
myst_heading_anchors = 3
myst_enable_extensions = ["deflist", "fieldlist"]
nitpicky = True
