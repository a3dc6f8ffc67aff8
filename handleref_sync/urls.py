"""Where other nodes call: ``path("sync/", include("handleref_sync.urls"))`` in the project's own urls."""

from __future__ import annotations

from django.urls import re_path

from handleref_sync.transport import server

app_name = "handleref_sync"
# With and without the slash at the end: CommonMiddleware would answer a POST with a redirect, and we follow none.
urlpatterns = [
    re_path(r"^v1/(?P<action>hello|pull|push|rows|records|verify)/?$", server.exchange, name="exchange"),
    re_path(r"^v1/pair/?$", server.pair, name="pair"),
]
