"""Every reason code is produced by something, and a test of this table proves it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kneeimg import errors
from kneeimg.core.grid import Grid
from kneeimg.errors import GeometryError, InputError, KneeimgError, ReasonCode
from kneeimg.io.results import read_json, read_record

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
_SERIES, _FILMS = "io/test_dicom_series.py", "io/test_dicom_films.py"
_FINDER, _PLANS = "segment/test_film.py", "pipeline/test_planning.py"
_TRIAL, _ARMS = "pipeline/test_trial_analysis.py", "trial/test_sealed_arms.py"
_CLINICAL, _NUMBERS = "trial/test_clinical_tables.py", "trial/statistics/test_trial_statistics.py"
_AUDIT = "batch/test_audit_run.py"
_BUNDLES, _NETWORKS = "segment/test_bundle.py", "segment/test_bundle_segmenter.py"
_MAPS = "measure/test_bad_maps.py"
_KNEES, _HERE = "measure/test_morphometry.py", "integration/test_reason_codes.py"

#: Code to the test whose fixture makes it appear.
PROOFS = {
    "MISSING_SLICES": (_SERIES, "test_missing_slices"),
    "EXTENT_MISMATCH": (_PLANS, "test_slices_other_than_the_protocol_are_flagged"),
    "DUPLICATE_DROPPED": (_SERIES, "test_equal_duplicate_is_dropped_and_spacing_stays"),
    "CONFLICTING_DUPLICATE": (_SERIES, "test_conflicting_duplicate"),
    "NONUNIFORM_SPACING": (_SERIES, "test_nonuniform_spacing"),
    "SHEARED_STACK": (_SERIES, "test_sheared_stack"),
    "MIXED_ORIENTATION": (_SERIES, "test_mixed_orientation"),
    "MIXED_FRAMES": (_SERIES, "test_mixed_frames"),
    "LOCALIZER": (_SERIES, "test_localizer_by_image_type"),
    "SPACING_TAG_DISAGREES": (_SERIES, "test_spacing_tag_disagrees"),
    "AMBIGUOUS_SERIES": (_SERIES, "test_ambiguous_series_gives_selectors_that_work"),
    "NO_GEOMETRY": (_SERIES, "test_no_geometry"),
    "TOO_FEW_SLICES": (_SERIES, "test_too_few_slices"),
    "UNSUPPORTED_TRANSFER_SYNTAX": (_SERIES, "test_unsupported_transfer_syntax"),
    "LOSSY_COMPRESSED": (_SERIES, "test_lossy_compressed_is_flagged"),
    "TRUNCATED_PIXEL_DATA": (_SERIES, "test_truncated_pixel_data"),
    "NOT_DICOM": (_SERIES, "test_not_dicom_and_the_rest_goes_on"),
    "BAD_DICOM": (_SERIES, "test_bad_dicom"),
    "NOT_AN_IMAGE": (_SERIES, "test_not_an_image"),
    "UNSUPPORTED_IMAGE": (_SERIES, "test_unsupported_image"),
    "TOO_LARGE": (_SERIES, "test_too_large_file_is_refused_from_its_header"),
    "NO_RULE_MATCHES": (_SERIES, "test_no_rule_matches"),
    "NO_PIXEL_SPACING": (_FILMS, "test_no_pixel_size_means_no_millimetres"),
    "ZERO_PIXEL_SPACING": (_FILMS, "test_no_pixel_size_means_no_millimetres"),
    "INVERTED_POLARITY": (_FINDER, "test_inverted_polarity_is_corrected_and_recorded"),
    "IMPLANT_SUSPECTED": (_FINDER, "test_implant_is_refused"),
    "OBJECT_IN_VIEW": (_FINDER, "test_bead_beside_the_joint_is_flagged_and_does_not_matter"),
    "JOINT_OUT_OF_VIEW": (_FINDER, "test_cut_joint_is_refused"),
    "KNEE_NOT_FOUND": (_FINDER, "test_what_is_no_knee_is_refused"),
    "BONE_ON_BONE": (_FINDER, "test_bone_on_bone_is_zero"),
    "MARGINS_DISAGREE": (
        "segment/test_film_consistency.py",
        "test_a_second_search_that_ends_elsewhere_refuses",
    ),
    "MARGIN_UNCERTAIN": ("measure/test_joint_space.py", "test_unsure_margins_are_flagged"),
    "WIDTH_UNCERTAIN": (
        "segment/test_film_frame_check.py",
        "test_an_edge_beside_the_bone_is_flagged",
    ),
    "COARSE_PIXELS": ("measure/test_kl_features.py", "test_coarse_pixels_show_no_trabeculae"),
    "KL_UNCERTAIN": ("measure/test_kl_model.py", "test_flat_probabilities_are_uncertain"),
    "KL_OUT_OF_RANGE": (
        "measure/test_kl_model.py",
        "test_a_film_outside_the_training_range_says_so_and_counts_as_its_edge",
    ),
    "NO_LATERALITY": (_SERIES, "test_side_missing"),
    "LATERALITY_CONFLICT": (_SERIES, "test_side_tags_that_disagree"),
    "SUBJECT_MISMATCH": (_PLANS, "test_stranger_is_refused_without_his_number"),
    "VISIT_OUT_OF_WINDOW": (
        _PLANS,
        "test_scan_outside_every_window_is_measured_flagged_and_unscheduled",
    ),
    "VISIT_MISSING": (_PLANS, "test_visits_follow_from_dates_and_missing_ones_are_rows"),
    "DUPLICATE_SCAN": (_PLANS, "test_two_scans_in_one_window_keep_the_nearest"),
    "DUPLICATE_PARTICIPANT": (
        "trial/test_study_tables.py",
        "test_people_who_cannot_be_told_apart_are_refused_and_the_others_stay",
    ),
    "DATES_BACKWARDS": (_PLANS, "test_listed_dates_that_run_backwards"),
    "NOT_IN_STUDY": (
        "batch/test_batch.py",
        "test_somebody_who_left_the_study_is_named_and_keeps_the_files",
    ),
    "PROTOCOL_CHANGED": (
        "pipeline/test_checking.py",
        "test_another_scanner_than_at_baseline_is_named",
    ),
    "BAD_STUDY_FILE": ("settings/test_study_file.py", "test_typo_names_file_key_and_nearest_key"),
    "BAD_STUDY_ID": (
        "trial/test_study_tables.py",
        "test_ids_that_could_leave_the_folder_are_refused",
    ),
    "NO_MASK": (_PLANS, "test_no_mask_and_several_masks"),
    "AMBIGUOUS_MASK": (_PLANS, "test_no_mask_and_several_masks"),
    "BAD_MASK_FILE": ("io/test_label_maps.py", "test_bad_mask_file"),
    "MASK_GRID_MISMATCH": ("io/test_label_maps.py", "test_mask_on_another_grid"),
    "MASK_SERIES_MISMATCH": ("io/test_dicom_seg.py", "test_a_mask_of_another_series"),
    "OVERLAPPING_SEGMENTS": ("io/test_dicom_seg.py", "test_overlapping_segments_are_refused"),
    "EMPTY_MASK": ("io/test_label_maps.py", "test_empty_mask"),
    "NO_BONE": (_KNEES, "test_empty_and_boneless_maps_are_refused"),
    "UNKNOWN_LABEL": ("io/test_label_maps.py", "test_unknown_label_names_values_and_counts"),
    "MODEL_HASH_MISMATCH": (_BUNDLES, "test_other_weights_than_the_metadata_names_are_refused"),
    "MODEL_REFUSED": (_BUNDLES, "test_a_spoiled_model_is_refused"),
    "MODEL_NOT_TRUSTED": ("segment/test_foreign.py", "test_torchscript_needs_consent"),
    "NOT_A_KNEE": (_NETWORKS, "test_what_is_no_knee_is_refused"),
    "LOW_CONFIDENCE": (_NETWORKS, "test_a_knee_in_part_is_refused"),
    "MODEL_PREVIEW": (
        "pipeline/test_segmented_cases.py",
        "test_every_row_of_a_preview_model_says_so",
    ),
    "MEMORY_FALLBACK": (
        _NETWORKS,
        "test_memory_that_runs_short_means_a_smaller_window_and_is_told",
    ),
    "OUT_OF_MEMORY": (_NETWORKS, "test_memory_that_is_never_enough_is_a_refusal"),
    "TISSUE_MISSING": (_KNEES, "test_missing_tissues_leave_rows_with_a_reason"),
    "REGION_EMPTY": (_KNEES, "test_one_tibial_plate_only"),
    "FRAME_UNDEFINED": (_MAPS, "test_cartilage_on_the_wrong_bone_has_no_frame"),
    "SEVERAL_BONES": (_MAPS, "test_two_knees_in_one_map_are_not_measured"),
    "LABELS_SWAPPED": (_MAPS, "test_swapped_bones_are_refused"),
    "RAY_MISSED": (
        "measure/test_thickness.py",
        "test_a_ray_without_an_end_is_undetermined_and_never_zero",
    ),
    "UNDETERMINED_SHARE": (
        "measure/test_thickness.py",
        "test_a_ray_without_an_end_is_undetermined_and_never_zero",
    ),
    "IMPLAUSIBLE_THICKNESS": (
        _KNEES,
        "test_coarse_voxels_and_implausible_thickness_are_flagged",
    ),
    "BONE_CUT_BY_VIEW": (
        "measure/test_thickness.py",
        "test_cartilage_cut_by_the_image_edge_is_undetermined",
    ),
    "SHORT_SHAFT": ("measure/test_frames.py", "test_a_short_shaft_is_flagged"),
    "FRAGMENTED_CARTILAGE": (_KNEES, "test_islands_are_flagged_and_specks_are_not_plates"),
    "COARSE_GRID": (_KNEES, "test_coarse_voxels_and_implausible_thickness_are_flagged"),
    "GEOMETRY_INVALID": (_HERE, "test_grids_that_do_not_agree"),
    "REGISTRATION_FAILED": (
        "longitudinal/test_registration.py",
        "test_the_opposite_knee_is_refused_and_named",
    ),
    "NO_BASELINE": ("pipeline/test_pairs.py", "test_unmeasured_visits_keep_their_rows"),
    "PROTOCOL_DRIFT": (
        "pipeline/test_pairs.py",
        "test_millimetres_of_different_calibration_are_not_compared",
    ),
    "UNKNOWN_PARTICIPANT": (_ARMS, "test_lines_that_cannot_be_used_are_named_and_the_rest_stays"),
    "UNKNOWN_VISIT": (_CLINICAL, "test_strangers_unknown_visits_and_columns"),
    "UNKNOWN_COLUMN": (_CLINICAL, "test_strangers_unknown_visits_and_columns"),
    "UNKNOWN_OUTCOME": (_TRIAL, "test_few_flat_and_missing_values_have_reasons"),
    "DUPLICATE_ENTRY": (_CLINICAL, "test_repeated_participant_and_visit"),
    "NO_ARM": (_ARMS, "test_lines_that_cannot_be_used_are_named_and_the_rest_stays"),
    "ONE_ARM": (_TRIAL, "test_one_arm_leaves_srm_and_says_so_elsewhere"),
    "AMBIGUOUS_KNEE": (_TRIAL, "test_bad_rows_are_listed_and_the_rest_is_analysed"),
    "UNIT_CONFLICT": (_CLINICAL, "test_units_that_differ_between_files"),
    "NOT_A_NUMBER": (_CLINICAL, "test_cells_that_are_no_numbers"),
    "OUT_OF_RANGE": (_CLINICAL, "test_numbers_outside_their_scale"),
    "TOO_FEW_PARTICIPANTS": (_NUMBERS, "test_ancova_says_why_not"),
    "NO_VARIANCE": (_NUMBERS, "test_ancova_says_why_not"),
    "NO_REPEATABILITY_DATA": (_TRIAL, "test_without_repeatability_data_nobody_is_a_responder"),
    "NO_DIRECTION": (
        _TRIAL,
        "test_less_is_better_for_bare_bone_and_neither_for_the_bone_area",
    ),
    "NOT_CONVERGED": (_NUMBERS, "test_mixed_model_says_why_not"),
    "UNBOUNDED": (_TRIAL, "test_the_next_trial_is_sized_from_the_estimate_and_its_limits"),
    "NO_REPEATABILITY": (
        "pipeline/test_repeatability.py",
        "test_a_table_for_something_else_is_refused_and_says_why",
    ),
    "NO_REPEATS": ("pipeline/test_precision_study.py", "test_no_repeats_is_said"),
    "OUTPUT_NOT_WRITABLE": (
        "batch/test_batch.py",
        "test_unwritable_output_is_refused_before_anything_runs",
    ),
    "OUTPUT_FULL": (
        "batch/test_batch.py",
        "test_full_disk_stops_with_a_code_and_keeps_old_results",
    ),
    "OUTPUT_CHANGED": (_HERE, "test_results_that_are_no_longer_ours"),
    "EXCLUDED": (_AUDIT, "test_exclusion_empties_the_rows_and_the_next_run_agrees"),
    "NO_SUCH_SCAN": (_AUDIT, "test_only_a_measured_scan_can_be_excluded"),
    "REASON_MISSING": (_AUDIT, "test_force_needs_a_reason_and_records_old_and_new"),
    "LOCKED": (_AUDIT, "test_locked_results_refuse_every_writer"),
    "AUDIT_BROKEN": (_AUDIT, "test_a_broken_log_stops_a_run_before_it_writes"),
    "AUDIT_NOTE": (
        "io/test_audit_log.py",
        "test_an_unended_run_and_a_clock_that_went_back_are_noted",
    ),
    "INTERNAL_ERROR": (
        "batch/test_batch.py",
        "test_every_planned_measurement_has_exactly_one_row",
    ),
}


@cache
def _tests_of(name: str) -> dict[str, str]:
    """Test functions of a file with their source, decorators included."""
    text = (TESTS / name).read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found[node.name] = "\n".join(lines[start - 1 : node.end_lineno])
    return found


@cache
def _package() -> str:
    files = sorted((ROOT / "kneeimg").rglob("*.py"))
    return "\n".join(p.read_text(encoding="utf-8") for p in files if p.name != "errors.py")


def test_the_table_lists_every_code() -> None:
    assert set(PROOFS) == {code.value for code in ReasonCode}


@pytest.mark.parametrize("code", PROOFS)
def test_a_named_test_makes_the_code_appear(code: str) -> None:
    name, test = PROOFS[code]
    source = _tests_of(name).get(test)
    assert source is not None, f"{name} has no {test}"
    assert re.search(rf"\b{code}\b", source), f"{test} does not look for {code}"


@pytest.mark.parametrize("code", list(ReasonCode))
def test_something_in_the_package_produces_the_code(code: ReasonCode) -> None:
    classes = [item for item in vars(errors).values() if isinstance(item, type)]
    default = {cls.default_code for cls in classes if issubclass(cls, KneeimgError)}
    assert code in default or f"ReasonCode.{code.value}" in _package()


def test_the_page_of_codes_is_current() -> None:
    page = (ROOT / "docs" / "reason-codes.md").read_text(encoding="utf-8")
    for code, (behaviour, meaning) in errors.REASONS.items():
        assert f"| `{code}` | {behaviour} | {meaning} |" in page, "run scripts/make_reason_codes.py"
    assert page.count("\n| `") == len(ReasonCode)


def test_grids_that_do_not_agree() -> None:
    first, second = (Grid((2, 2, 2), np.diag([mm, mm, mm, 1.0]), "1.2") for mm in (1.0, 1.1))
    with pytest.raises(GeometryError) as caught:
        first.require_same(second)
    assert caught.value.code is ReasonCode.GEOMETRY_INVALID


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"participant": "P01"}'])
def test_results_that_are_no_longer_ours(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sub-P01_measurements.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert caught.value.code is ReasonCode.OUTPUT_CHANGED
    with pytest.raises(InputError, match="OUTPUT_CHANGED"):
        read_json(tmp_path / "gone.json")
