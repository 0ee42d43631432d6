"""Rows of the tables of the analysis by arm, from samples of values."""
