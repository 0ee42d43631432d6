"""kneeimg: joint-space width and cartilage morphometry of the knee from X-ray and MRI.

For research. Not a medical device, not for diagnosis.
"""

from __future__ import annotations

__version__ = "0.1.0"
