"""Rigid registration of one bone between two visits, and when to refuse it."""

from __future__ import annotations

from dataclasses import dataclass

from kneeimg.core.surface import RigidTransform, Surface
from kneeimg.errors import RegistrationError
from kneeimg.longitudinal.bone_patch import Patch, joint_patch
from kneeimg.longitudinal.icp import Fit, align, motion_size
from kneeimg.settings.registration import RegistrationSettings

#: The mirrored bone must fit this much better before the other knee is named as the cause.
_MIRROR_RATIO = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Where a bone of the follow-up lies in the baseline frame, and how well it fits there.

    Attributes
    ----------
    transform : Follow-up frame to baseline frame.
    rms_mm : Root mean square distance of the follow-up points to the baseline bone, both smoothed
        over `normal_smoothing_mm`, without the farthest `trim_share`.
    median_mm : Median of all those distances.
    overlap : Share of the follow-up points with baseline bone of like orientation within
        `pair_distance_mm`.
    n : Number of follow-up points.
    iterations : Steps until the pose came to rest.
    angle_deg : Turn between the two scans.
    translation_mm : Shift of the bone's centre between the two scans.
    """

    transform: RigidTransform
    rms_mm: float
    median_mm: float
    overlap: float
    n: int
    iterations: int
    angle_deg: float
    translation_mm: float


def register_bone(
    followup: Surface, baseline: Surface, settings: RegistrationSettings | None = None
) -> Registration:
    """Align a follow-up bone with the same bone at baseline.

    Parameters
    ----------
    followup, baseline : Bone surfaces, patient LPS+ mm, outward triangles. The field `plate` (not
        0 on the joint surface) tells where the joint is; without it the whole surface is used.
    settings : Reach, sampling, trimming and the limits of refusal.

    Returns
    -------
    Registration
        Its transform moves follow-up points into the baseline frame.

    Raises
    ------
    RegistrationError
        `REGISTRATION_FAILED` if a surface is empty, the bones do not overlap, or their distance
        is larger than two scans of one bone have: another person, another bone, or the other
        knee (then the mirrored bone fits clearly better, and the message says so).

    Notes
    -----
    Cartilage comes and goes, its interface with bone hardly does; osteophytes grow. Points whose
    residual stands out (Tukey weights) or whose normals disagree take no part, and the ragged end
    of the shaft is left out by the distance to the joint surface. The limits of refusal were set
    between 24 people scanned twice, 36 to 96 months apart, and pairs of different people; they
    are listed in the settings.

    References
    ----------
    .. [1] Point-to-plane alignment: doi:10.1016/0262-8856(92)90066-C
    .. [2] Robust weights: Beaton & Tukey 1974, doi:10.1080/00401706.1974.10489171

    Examples
    --------
    >>> registration = register_bone(followup, baseline)  # doctest: +SKIP
    >>> registration.transform.move(followup)  # doctest: +SKIP
    """
    settings = settings or RegistrationSettings()
    target = _patch(baseline, settings, "baseline")
    source = _patch(followup, settings, "follow-up")
    fit = align(source, target, settings)
    registration = _summary(fit, source, followup, baseline, settings)
    reason = _doubt(registration, settings)
    if reason:
        raise _refusal(reason, registration, _other_knee(source, target, registration, settings))
    return registration


def _patch(surface: Surface, settings: RegistrationSettings, visit: str) -> Patch:
    if len(surface.faces) < 100:
        raise RegistrationError(
            f"the {visit} bone has no surface to align",
            expected="a bone surface of at least 100 triangles",
            found=f"{len(surface.faces)} triangles",
            action=f"check the segmentation of the {visit} visit",
        )
    return joint_patch(surface, settings.joint_reach_mm, settings.normal_smoothing_mm)


def _summary(
    fit: Fit,
    source: Patch,
    followup: Surface,
    baseline: Surface,
    settings: RegistrationSettings,
) -> Registration:
    angle_deg, translation_mm = motion_size(fit.matrix, source.vertices_mm)
    transform = RigidTransform(
        fit.matrix[:3, :3], fit.matrix[:3, 3], followup.frame_uid, baseline.frame_uid
    )
    return Registration(
        transform=transform,
        rms_mm=fit.rms_mm(settings.trim_share),
        median_mm=fit.median_mm,
        overlap=float(fit.paired.mean()),
        n=len(fit.paired),
        iterations=fit.iterations,
        angle_deg=angle_deg,
        translation_mm=translation_mm,
    )


def _doubt(registration: Registration, settings: RegistrationSettings) -> str:
    """What is wrong with a registration; empty when nothing is."""
    if registration.overlap < settings.min_overlap:
        return f"overlap at least {settings.min_overlap:.0%} of the joint"
    if registration.rms_mm > settings.max_rms_mm:
        return f"trimmed residual at most {settings.max_rms_mm} mm"
    if registration.median_mm > settings.max_median_mm:
        return f"median distance at most {settings.max_median_mm} mm"
    return ""


def _other_knee(
    source: Patch, target: Patch, direct: Registration, settings: RegistrationSettings
) -> bool:
    """Whether the mirrored follow-up fits clearly better, and well."""
    quick = _with_points(settings, 2000)
    mirrored = align(source.mirrored(), target, quick)
    rms_mm = mirrored.rms_mm(settings.trim_share)
    return rms_mm < _MIRROR_RATIO * direct.rms_mm and rms_mm <= settings.max_rms_mm


def _with_points(settings: RegistrationSettings, count: int) -> RegistrationSettings:
    """The same settings with at most `count` sampled points."""
    return settings.model_copy(update={"sample_points": min(count, settings.sample_points)})


def _refusal(expected: str, found: Registration, other_knee: bool) -> RegistrationError:
    cause = (
        "the follow-up bone is of the opposite knee: its mirror image fits"
        if other_knee
        else "the follow-up bone does not match the baseline bone"
    )
    return RegistrationError(
        cause,
        expected=expected,
        found=f"residual {found.rms_mm:.2f} mm, median {found.median_mm:.2f} mm, "
        f"overlap {found.overlap:.0%}",
        action="check the side of both visits"
        if other_knee
        else "check that both scans show the same person, knee and bone, and the segmentation",
    )
