"""A second opinion on the Kellgren-Lawrence grade by small networks on the level film.

Both compartments are seen from their outer side by the same layers, as in Tiulpin 2018 [1]_: the
place of a lip or of a narrow space then looks alike medially and laterally, left and right. The
mean of each feature over the crop, times a weight, is its part of the log odds of a higher grade;
so the parts of the cells add up to the score exactly, and their picture (a class activation
map [2]_) is no approximation. Proportional odds as in the model of the features, which the
networks never see and are never averaged with.

References
----------
.. [1] Tiulpin et al. 2018, doi:10.1038/s41598-018-20132-7.
.. [2] Zhou et al. 2016, doi:10.1109/CVPR.2016.319.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.kl_opinion import GradeEnsemble, GradeNetwork, JointCrop, KlOpinion
from kneeimg.core.kl_support import GRADES, KlSupport
from kneeimg.core.margins import Compartment, JointMargins
from kneeimg.core.measurement import Measurement
from kneeimg.errors import Finding, ReasonCode
from kneeimg.measure.convolution import convolve, rectified, residual
from kneeimg.measure.film_level import LevelCompartment, level_joint
from kneeimg.measure.joint_space import KNEE, Spacing, joint_frame
from kneeimg.measure.kl_model import grade_doubts, grade_probabilities, median_grade
from kneeimg.settings.kl_support import KlSupportSettings

FloatArray = NDArray[np.float64]

METHOD = "networks on the level film"
OPINION_ROWS = (
    *((KNEE, f"KLN_P{grade}", "ratio") for grade in GRADES),
    (KNEE, "KLN_grade", "grade"),
)


def joint_crops(
    levels: Mapping[Compartment, LevelCompartment], crop: JointCrop
) -> NDArray[np.float32]:
    """(2, rows, columns) of both compartments, medial first; 0 beyond the film.

    Grey values without slow shading in spreads of the film, as `LevelCompartment.detail`.
    """
    v, s = np.meshgrid(crop.v, crop.s, indexing="ij")
    seen = [levels[c].sampled(levels[c].detail, s, v) for c in Compartment]
    return np.nan_to_num(np.array(seen), nan=0.0).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkAnswer:
    """What one network says.

    Attributes
    ----------
    maps : (2, R, C) log odds of each cell, not yet against the mean training film.
    features : (2, channels) means over the crop.
    """

    maps: FloatArray
    features: FloatArray


def network_answer(crops: NDArray[np.float32], network: GradeNetwork) -> NetworkAnswer:
    """Log odds by cell, and the mean features, of (2, rows, columns) crops."""
    maps, features = [], []
    for image, weight in zip(crops, network.weight, strict=True):
        layer = rectified(convolve(image[None], network.stem))
        for block in network.blocks:
            layer = residual(layer, block)
        cells = layer.astype(np.float64)
        maps.append(np.tensordot(weight, cells, axes=1) / cells[0].size)
        features.append(cells.mean(axis=(1, 2)))
    return NetworkAnswer(np.array(maps), np.array(features))


def unlikeness(answer: NetworkAnswer, network: GradeNetwork) -> float:
    """Root mean square distance of the features from the training films, in their SD.

    About 1 for a film like those; features that never varied do not count.
    """
    varied = network.feature_sd > 1e-6
    away = (answer.features - network.feature_mean)[varied] / network.feature_sd[varied]
    return float(np.sqrt(np.mean(away**2)))


def kl_opinion(
    crops: NDArray[np.float32],
    ensemble: GradeEnsemble,
    settings: KlSupportSettings | None = None,
    flags: Iterable[ReasonCode] = (),
) -> KlOpinion:
    """What the networks say of the crops of one film.

    Parameters
    ----------
    crops : (2, rows, columns) of :func:`joint_crops`.
    ensemble : Networks; each judges the film, their log odds are averaged.
    settings : When no grade is suggested; the same bounds as for the model of the features.
    flags : Of the film's margins; MARGIN_UNCERTAIN makes the answer uncertain.

    Notes
    -----
    A film whose features on average lie farther from the training films than `most_unlike` gets
    KL_OUT_OF_RANGE and no grade.
    """
    settings = settings or KlSupportSettings()
    answers = [network_answer(crops, network) for network in ensemble.networks]
    against_mean = [
        answer.maps - network.mean_map
        for answer, network in zip(answers, ensemble.networks, strict=True)
    ]
    maps = ensemble.slope * np.array(against_mean)
    scores = maps.sum(axis=(1, 2, 3))
    pairs = zip(answers, ensemble.networks, strict=True)
    far = float(np.mean([unlikeness(answer, network) for answer, network in pairs]))
    probabilities = grade_probabilities(scores.mean(), ensemble.thresholds)
    findings = [*_range(far, ensemble), *grade_doubts(probabilities, (), settings, flags)]
    return KlOpinion(
        tuple(float(p) for p in probabilities),  # type: ignore[arg-type]
        None if findings else median_grade(probabilities),
        dict(zip(Compartment, maps.mean(axis=0), strict=True)),
        ensemble.crop,
        float(scores.std()),
        far,
        tuple(findings),
        ensemble.sha256,
    )


def film_opinion(
    image: NDArray[np.floating],
    margins: JointMargins,
    spacing_mm: Spacing | None,
    ensemble: GradeEnsemble,
    settings: KlSupportSettings | None = None,
) -> KlOpinion:
    """What the networks say of one knee on a film.

    Parameters
    ----------
    image : (rows, columns) film on which the margins lie.
    margins : Margins in pixels of the film.
    spacing_mm : (row, column) pixel size; None: pixels are square, nothing else depends on it.
    ensemble, settings : As in :func:`kl_opinion`.

    Raises
    ------
    MeasurementError
        FRAME_UNDEFINED.
    """
    usable = spacing_mm if spacing_mm and min(spacing_mm) > 0 else None
    levels = level_joint(image, margins, joint_frame(margins, usable))
    return kl_opinion(joint_crops(levels, ensemble.crop), ensemble, settings, margins.flags)


def _range(far: float, ensemble: GradeEnsemble) -> list[Finding]:
    if far <= ensemble.most_unlike:
        return []
    return [
        Finding(
            ReasonCode.KL_OUT_OF_RANGE,
            "the film looks unlike the films that the networks learned from",
            expected=f"a distance of at most {ensemble.most_unlike:.2f}",
            found=f"{far:.2f}",
        )
    ]


def opinion_rows(opinion: KlOpinion, flags: Iterable[ReasonCode] = ()) -> Iterator[Measurement]:
    """Every row of `OPINION_ROWS`, in that order.

    Parameters
    ----------
    flags : Of the film's margins; with the reasons of doubt they stand beside each value.
    """
    noticed = (code for code in flags if code is not ReasonCode.BONE_ON_BONE)
    codes = tuple(dict.fromkeys((*noticed, *(finding.code for finding in opinion.findings))))
    for row, value in zip(OPINION_ROWS, opinion.probabilities, strict=False):
        yield Measurement(row[0], row[1], value, row[2], method=METHOD, flags=codes)
    grade = OPINION_ROWS[-1]
    if opinion.grade is None:
        yield Measurement.missing(*grade, ReasonCode.KL_UNCERTAIN, method=METHOD)
    else:
        value = float(opinion.grade)
        yield Measurement(grade[0], grade[1], value, grade[2], method=METHOD, flags=codes)


def grades_apart(support: KlSupport, opinion: KlOpinion) -> int:
    """Grades between the medians of both answers, also where one suggests none."""
    return abs(median_grade(support.probabilities) - median_grade(opinion.probabilities))


def comparison_text(support: KlSupport, opinion: KlOpinion) -> str:
    """One plain sentence on whether features and networks say the same.

    >>> from kneeimg.core.kl_opinion import JointCrop
    >>> crop = JointCrop(160, 112, 88, 0.18, 0.0)
    >>> features = KlSupport((0.1, 0.6, 0.2, 0.1, 0.0), 1, {})
    >>> networks = KlOpinion((0.0, 0.1, 0.2, 0.6, 0.1), 3, {}, crop, 0.2, 1.0)
    >>> comparison_text(features, networks)
    'Features and networks disagree by 2 grades: KL 1 against KL 3. Let a reader grade the film.'
    """
    first, second = median_grade(support.probabilities), median_grade(opinion.probabilities)
    unsure = [
        name
        for name, answer in (("features", support), ("networks", opinion))
        if not answer.certain
    ]
    apart = grades_apart(support, opinion)
    if apart:
        grades = "1 grade" if apart == 1 else f"{apart} grades"
        said = f"Features and networks disagree by {grades}: KL {first} against KL {second}"
    else:
        said = f"Features and networks agree on KL {first}"
    doubt = f"; the {' and the '.join(unsure)} are uncertain" if unsure else ""
    advice = " Let a reader grade the film." if apart or unsure else ""
    return f"{said}{doubt}.{advice}"
