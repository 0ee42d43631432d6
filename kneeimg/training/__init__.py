"""Learning to segment from label maps: anatomy, synthetic scans, the train loop.

Nothing here is imported by inference.
"""
