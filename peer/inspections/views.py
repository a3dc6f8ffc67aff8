"""The front page."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .models import Airport, Inspection


def front(request: HttpRequest) -> HttpResponse:
    """Which node this is and how much it holds: what one wants to see side by side after a sync."""
    return render(
        request,
        "inspections/front.html",
        {
            "node": settings.HANDLEREF_SYNC["NODE"],
            "airports": Airport.handleref.undeleted().count(),
            "inspections": Inspection.handleref.undeleted().count(),
        },
    )
