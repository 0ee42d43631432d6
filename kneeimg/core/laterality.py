"""One side from several sources, or a refusal: nothing here has a default."""

from __future__ import annotations

from collections.abc import Iterable

from kneeimg.core.anatomy import Side
from kneeimg.errors import InputError, ReasonCode

#: A source's name ("study file", "Laterality (0020,0060)", "fibula", ...) and what it says.
SideSource = tuple[str, Side | None]


def combine_sides(sources: Iterable[SideSource], *, where: str = "") -> tuple[Side, str] | None:
    """The side on which all sources that know one agree, and the first source that said so.

    Parameters
    ----------
    sources : Name and side of each source, most trusted first; None where a source is silent.
    where : File or series, for the message.

    Returns
    -------
    (side, source name), or None when every source is silent.

    Raises
    ------
    InputError
        LATERALITY_CONFLICT if two sources disagree.

    Examples
    --------
    >>> combine_sides([("study file", None), ("Laterality", Side.LEFT)])
    (<Side.LEFT: 'left'>, 'Laterality')
    >>> combine_sides([("study file", None)]) is None
    True
    """
    known = [(name, side) for name, side in sources if side is not None]
    if not known:
        return None
    if len({side for _, side in known}) > 1:
        raise InputError(
            "the sources of the side disagree",
            code=ReasonCode.LATERALITY_CONFLICT,
            where=where,
            expected="left or right from every source alike",
            found=", ".join(f"{name}: {side}" for name, side in known),
            action="find out which knee this is and correct the file or the study file",
        )
    name, side = known[0]
    return side, name


def require_side(sources: Iterable[SideSource], *, where: str = "") -> Side:
    """As :func:`combine_sides`, but refuse (NO_LATERALITY) when every source is silent.

    >>> require_side([("--side", Side.RIGHT), ("Laterality", None)])
    <Side.RIGHT: 'right'>
    """
    combined = combine_sides(sources, where=where)
    if combined is None:
        raise InputError(
            "nothing says whether this is the left or the right knee",
            code=ReasonCode.NO_LATERALITY,
            where=where,
            expected="left or right",
            found="no source",
            action="give the side (--side, or the study file)",
        )
    return combined[0]
