"""Objects with known answers: shells, wedges, a parametric knee, synthetic MR images and films."""
