"""For Django REST framework; nothing outside of this package needs it."""
