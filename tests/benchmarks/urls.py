"""Where the edge of a benchmark calls its hub."""

from django.urls import include, path

urlpatterns = [path("sync/", include("handleref_sync.urls"))]
