from django.apps import AppConfig


class SurfaceConfig(AppConfig):
    name = "tests.handleref"
    label = "surface"
