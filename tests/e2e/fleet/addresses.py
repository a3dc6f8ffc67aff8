"""Urls of the fleet."""

from django.urls import include, path

urlpatterns = [path("sync/", include("handleref_sync.urls"))]
