"""The study: participants, visits and their windows. Never sees an image."""
