"""Which pixel encodings are read, and whether they lose anything."""

from __future__ import annotations

from dataclasses import dataclass

from kneeimg.errors import Finding, ReasonCode


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One way to store pixels.

    Attributes
    ----------
    name : As people say it.
    native : Pixels are stored as plain numbers.
    lossy : Always loses detail; None when the file must say so itself.
    plugin : The one decoder that pydicom may use. Damaged data must raise, not end the process:
        gdcm aborts and the Rust decoder of RLE panics, so both are passed over where another
        decoder exists. JPEG Lossless has only gdcm (optional): a damaged stream may end the
        process there, which the workers of the batch survive.
    """

    name: str
    native: bool = False
    lossy: bool | None = False
    plugin: str = ""


IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
GDCM = "gdcm"

#: The declared list. Everything else is refused.
SUPPORTED: dict[str, TransferSyntax] = {
    IMPLICIT_LITTLE: TransferSyntax("Implicit VR Little Endian", native=True),
    EXPLICIT_LITTLE: TransferSyntax("Explicit VR Little Endian", native=True),
    DEFLATED: TransferSyntax("Deflated Explicit VR Little Endian", native=True),
    EXPLICIT_BIG: TransferSyntax("Explicit VR Big Endian", native=True),
    "1.2.840.10008.1.2.4.50": TransferSyntax("JPEG Baseline", lossy=True, plugin="pillow"),
    JPEG_EXTENDED: TransferSyntax("JPEG Extended (8 bit)", lossy=True, plugin="pillow"),
    "1.2.840.10008.1.2.4.57": TransferSyntax("JPEG Lossless", plugin=GDCM),
    "1.2.840.10008.1.2.4.70": TransferSyntax("JPEG Lossless SV1", plugin=GDCM),
    "1.2.840.10008.1.2.4.80": TransferSyntax("JPEG-LS Lossless", plugin="pyjpegls"),
    "1.2.840.10008.1.2.4.81": TransferSyntax(
        "JPEG-LS Near-Lossless", lossy=True, plugin="pyjpegls"
    ),
    "1.2.840.10008.1.2.4.90": TransferSyntax("JPEG 2000 Lossless", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.91": TransferSyntax("JPEG 2000", lossy=None, plugin="pylibjpeg"),
    "1.2.840.10008.1.2.5": TransferSyntax("RLE Lossless", plugin="pydicom"),
}


def is_native(uid: str) -> bool:
    """Whether pixels are plain numbers; False for an unknown syntax."""
    return uid in SUPPORTED and SUPPORTED[uid].native


def has_decoder(uid: str) -> bool:
    """Whether the decoder of a compressed, declared syntax is installed."""
    from pydicom.pixels import get_decoder  # type: ignore[attr-defined]
    from pydicom.uid import UID

    return SUPPORTED[uid].plugin in get_decoder(UID(uid)).available_plugins


def refuse_transfer_syntax(uid: str, bits_stored: int, where: str) -> Finding | None:
    """UNSUPPORTED_TRANSFER_SYNTAX unless the syntax is declared and can be decoded here."""
    syntax = SUPPORTED.get(uid)
    deep = uid == JPEG_EXTENDED and bits_stored > 8  # neither Pillow nor gdcm decodes 12 bits
    if syntax is not None and not deep and (syntax.native or has_decoder(uid)):
        return None
    if syntax is None or deep:
        action = "convert the file to an uncompressed transfer syntax"
    else:
        package = {GDCM: "python-gdcm", "pylibjpeg": "pylibjpeg-openjpeg"}.get(
            syntax.plugin, syntax.plugin
        )
        action = f"pip install {package}, or convert the file"
    return Finding(
        ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX,
        "the pixel compression of this file is not read",
        where=where,
        expected="one of " + ", ".join(known.name for known in SUPPORTED.values()),
        found=f"{uid or 'no transfer syntax'}{f' ({syntax.name})' if syntax else ''}",
        action=action,
    )
