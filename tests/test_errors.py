"""Reason codes are a public, complete vocabulary and errors survive a process pool."""

from __future__ import annotations

import pickle

import pytest

from kneeimg import errors
from kneeimg.errors import REASONS, DicomError, Finding, KneeimgError, MaskError, ReasonCode


def test_every_code_is_explained_once() -> None:
    assert set(REASONS) == set(ReasonCode)
    assert all(code.name == code.value for code in ReasonCode)
    meanings = [meaning for _, meaning in REASONS.values()]
    assert len(set(meanings)) == len(meanings)


def test_the_public_vocabulary_is_not_shrunk_by_accident() -> None:
    contract = """
    MISSING_SLICES EXTENT_MISMATCH CONFLICTING_DUPLICATE NONUNIFORM_SPACING SHEARED_STACK
    MIXED_ORIENTATION LOCALIZER SPACING_TAG_DISAGREES AMBIGUOUS_SERIES NO_GEOMETRY
    UNSUPPORTED_TRANSFER_SYNTAX LOSSY_COMPRESSED TRUNCATED_PIXEL_DATA NOT_DICOM BAD_DICOM
    NO_PIXEL_SPACING ZERO_PIXEL_SPACING INVERTED_POLARITY NO_LATERALITY LATERALITY_CONFLICT
    IMPLANT_SUSPECTED OBJECT_IN_VIEW JOINT_OUT_OF_VIEW KNEE_NOT_FOUND SUBJECT_MISMATCH
    VISIT_OUT_OF_WINDOW TOO_LARGE REGISTRATION_FAILED"""
    assert set(contract.split()) <= {code.value for code in ReasonCode}


def test_message_gives_where_expected_found_and_action() -> None:
    error = DicomError(
        "a slice is missing",
        code=ReasonCode.MISSING_SLICES,
        where="series 3",
        expected="0.70 mm",
        found="1.40 mm between a.dcm and b.dcm",
        action="export the series again",
    )
    for part in ("MISSING_SLICES", "series 3", "0.70 mm", "1.40 mm", "export the series"):
        assert part in str(error)


def test_errors_cross_a_process_boundary_unchanged() -> None:
    error = MaskError("no bone", code=ReasonCode.NO_BONE, found="cartilage only")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MaskError
    assert again.finding == error.finding
    assert str(again) == str(error)


def test_each_error_class_has_its_own_default_code() -> None:
    tree = [cls for cls in vars(errors).values() if isinstance(cls, type)]
    raised = [cls("x") for cls in tree if issubclass(cls, KneeimgError)]
    assert len(raised) == 11
    assert all(isinstance(error.finding, Finding) for error in raised)


def test_a_finding_can_be_raised_as_the_error_it_describes() -> None:
    finding = Finding(ReasonCode.NO_LATERALITY, "side unknown")
    with pytest.raises(KneeimgError, match="NO_LATERALITY"):
        raise KneeimgError.from_finding(finding)
