"""The fixture and the tests that docs/testing.md shows, collected from the page itself."""

import re
import sys
from pathlib import Path
from unittest.mock import patch

from tests.docs.conftest import application

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"

with patch.dict(sys.modules, application()):
    for _match in re.finditer(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        # As many empty lines as stand before it, so that a traceback shows lines of the page.
        _lines = "\n" * (PAGE.read_text()[: _match.start()].count("\n") + 1)
        exec(compile(_lines + _match[1], str(PAGE), "exec"), globals())

_shown = [name for name in globals() if name.startswith("test_")]


def test_the_page_shows_tests():
    """Else none of the above was collected."""
    assert _shown
