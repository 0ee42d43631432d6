"""The statistics of a small two-arm trial, as formulae on plain arrays."""
