"""What the checks of the library say of the tests' own project."""

from django.core.checks import run_checks

from tests.fieldapp.models import Everything


def found(**options):
    """By id: the library's messages, but for those on the one model that has files, which has a test of its own."""
    messages = [m for m in run_checks(**options) if (m.id or "").startswith("handleref_sync")]
    return {m.id: m for m in messages if m.obj is not Everything}
