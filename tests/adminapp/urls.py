from django.contrib import admin
from django.urls import path

from tests.adminapp import site  # noqa: F401 - fills the admin

urlpatterns = [path("admin/", admin.site.urls)]
