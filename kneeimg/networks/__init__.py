"""Networks: what a bundle may build, the frame they see, and how they look at a whole scan.

Shared by inference (`segment`) and `training`, which do not know each other.
"""
