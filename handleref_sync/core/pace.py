"""How many records to put in a page, by what the link does with them.

On a slow link each page costs a turn in which nothing moves: the request, and the making and writing of a page.
Larger pages make fewer turns; on a fast link they would only cost memory, and hold the locks of both sides longer.
"""

from __future__ import annotations

SLOW = 256 * 1024
"""Bytes a second: what moves at more is not held up by the link, but by the two databases."""
NOTICEABLE = 0.5
"""Seconds that a page has to take before anything is concluded from it."""
AIM = 4.0
"""Seconds that a page should take on a slow link: not longer, for a link that breaks costs a page."""
MOST = 10.0
"""So many times as large as set is the largest page."""


class Pace:
    """The pace of one connection. Starts as on a fast link."""

    def __init__(self) -> None:
        self._factor = 1.0

    def took(self, seconds: float, transferred: int) -> None:
        """A page has taken `seconds`, in which so many bytes went over the link."""
        if seconds < NOTICEABLE or transferred > SLOW * seconds:
            self._factor = 1.0
        else:
            self._factor = min(MOST, max(1.0, self._factor * AIM / seconds))

    def rows(self, least: int, most: int) -> int:
        """Records for the next page: `least` as long as the link is fast, and never more than `most`."""
        return min(int(least * self._factor), most)
