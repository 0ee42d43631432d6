"""One folder, many stacks: separate series, echoes, image types, orientations and matrices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kneeimg.io.dicom import tags
from kneeimg.io.dicom.frames import Frame
from kneeimg.io.dicom.stack import directions, orientation_is_sound
from kneeimg.io.dicom.values import text
from kneeimg.settings.reading import ReadingSettings

#: Projection radiography: computed, digital, and digitised film.
FILM_MODALITIES = frozenset({"CR", "DX", "RG"})


@dataclass(frozen=True, slots=True)
class Group:
    """Frames that should make one stack.

    Attributes
    ----------
    frames : The images.
    key : What sets the group apart within its series, as text; part of its hash.
    echo_number : From 1 in order of echo time within the series; None for a lone, unnamed echo.
    """

    frames: tuple[Frame, ...]
    key: str
    echo_number: int | None = None


def split(frames: Iterable[Frame], settings: ReadingSettings) -> list[Group]:
    """Groups of one series each, in a fixed order.

    Raises nothing: whatever cannot be separated stays together and is refused as one stack.
    """
    groups: list[Group] = []
    for _, members in _by(frames, _series).items():
        modality = text(members[0].header.dataset, tags.MODALITY).upper()
        if modality == "MR":
            groups += _split_series(members, settings)
        else:
            groups += _split_images(members)
    return groups


def _series(frame: Frame) -> Hashable:
    dataset = frame.header.dataset
    return text(dataset, tags.SERIES_UID) or frame.image.path, text(dataset, tags.MODALITY)


def _split_images(frames: list[Frame]) -> list[Group]:
    """Films and segmentations one by one (copies together); anything else as one group."""
    modality = text(frames[0].header.dataset, tags.MODALITY).upper()
    if modality not in FILM_MODALITIES | {"SEG"}:
        return [Group(tuple(frames), "")]
    films = _by(frames, lambda f: text(f.header.dataset, tags.SOP_INSTANCE) or f.image.path)
    return [Group(tuple(copies), str(uid)) for uid, copies in films.items()]


def _by(frames: Iterable[Frame], key: Callable[[Frame], Hashable]) -> dict[Hashable, list[Frame]]:
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    return groups


def _split_series(frames: list[Frame], settings: ReadingSettings) -> list[Group]:
    echoes = _echo_numbers(frames, settings)
    kinds = _by(
        frames,
        lambda f: (
            f.image_type,
            f.component,
            echoes[id(f)],
            f.image.pixels.rows,
            f.image.pixels.columns,
        ),
    )
    groups = []
    for kind, alike in kinds.items():
        echo = echoes[id(alike[0])]
        for part, members in enumerate(_split_dimensions(alike, settings)):
            stacks = _split_orientations(members, settings)
            crossing = len(stacks) > 1
            for number, stack in enumerate(stacks):
                key = f"{kind}|{part}|{number if crossing else 0}"
                groups.append(Group(tuple(stack), key, echo or None))
    return groups


def _echo_numbers(frames: Sequence[Frame], settings: ReadingSettings) -> dict[int, int]:
    """Echo number of every frame, by identity; 0 when the series has one echo and no number.

    Echo times decide; the scanner's echo numbers count where the times are equal (combined
    echoes, some dual-echo steady state) and name the echo of a file that was split off.
    """
    keys = {id(f): (_rounded(f.echo_time_ms, settings), f.echo_label) for f in frames}
    distinct = sorted(set(keys.values()), key=lambda key: (key[0], _as_number(key[1]), key[1]))
    if len(distinct) == 1:
        alone = int(_as_number(distinct[0][1]))
        return dict.fromkeys(keys, max(alone, 0))
    labels = [int(_as_number(label)) for _, label in distinct]
    in_order = labels == sorted(set(labels)) and labels[0] >= 1
    numbers = labels if in_order else list(range(1, len(distinct) + 1))
    rank = dict(zip(distinct, numbers, strict=True))
    return {frame: rank[key] for frame, key in keys.items()}


def _rounded(echo_time_ms: float | None, settings: ReadingSettings) -> int:
    return -1 if echo_time_ms is None else round(echo_time_ms / settings.echo_tolerance_ms)


def _as_number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return 0.0


def _split_dimensions(frames: list[Frame], settings: ReadingSettings) -> list[list[Frame]]:
    """Frames by their further dimensions, if that gives equal stacks and not single images."""
    parts = list(_by(frames, lambda f: f.dimensions).values())
    sizes = {len(part) for part in parts}
    if len(parts) > 1 and len(sizes) == 1 and sizes.pop() >= settings.min_slices:
        return parts
    return [frames]


def _split_orientations(frames: list[Frame], settings: ReadingSettings) -> list[list[Frame]]:
    """Stacks of different orientation, unless a stray image would be split off that way."""
    if any(not orientation_is_sound(f.image.orientation or ()) for f in frames):
        return [frames]
    axes = np.array([directions(f.image.orientation or ())[:2].ravel() for f in frames])
    limit = np.deg2rad(settings.orientation_tolerance_deg)
    stacks: list[list[Frame]] = []
    seeds: list[np.ndarray] = []
    for frame, axis in zip(frames, axes, strict=True):
        for seed, stack in zip(seeds, stacks, strict=True):
            if np.abs(seed - axis).max() <= limit:
                stack.append(frame)
                break
        else:
            seeds.append(axis)
            stacks.append([frame])
        if len(stacks) > 16:  # radial or corrupt: one refusal instead of hundreds
            return [frames]
    scout = len(frames) <= settings.localizer_max_slices and len(stacks) == 3
    whole = all(len(stack) >= settings.min_slices for stack in stacks)
    return stacks if whole and not scout else [frames]
