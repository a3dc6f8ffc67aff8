"""Addresses of a node."""

from django.contrib import admin
from django.urls import include, path
from inspections.views import front

urlpatterns = [
    path("", front, name="front"),
    path("admin/", admin.site.urls),
    # What other nodes call. HANDLEREF_URL must end in this prefix.
    path("sync/", include("handleref_sync.urls")),
]
