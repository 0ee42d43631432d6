"""Validated, documented settings: one object per stage, an unknown key is an error."""
