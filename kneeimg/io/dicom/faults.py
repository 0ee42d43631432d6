"""What pydicom and its decoders raise on bytes that are not what they claim to be."""

from __future__ import annotations

import struct
import zlib

from pydicom.errors import BytesLengthException, InvalidDicomError

PARSE_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    NotImplementedError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    EOFError,
    OSError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)
