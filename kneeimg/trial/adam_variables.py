"""The columns of ADKNEE, after the basic data structure of ADaM."""

from __future__ import annotations

from kneeimg.core.dataset import Variable
from kneeimg.errors import REASONS

NAME = "ADKNEE"
LABEL = "Knee Imaging Analysis Dataset"
STRUCTURE = "One record per subject per knee per parameter per analysis visit per scan or average"

YES = {"Y": "Yes"}
YES_NO = {"Y": "Yes", "N": "No"}

#: CHGMTHD: how CHG came about.
PAIRED = "PAIRED"
DIFFERENCE = "DIFFERENCE"
OTHER = "OTHER SCANS"
CHANGE_METHODS = {
    PAIRED: "Both visits over the bone area of baseline: CHG = PAVAL - PBASE, not AVAL - BASE",
    DIFFERENCE: "CHG = AVAL - BASE",
    OTHER: "The change table compared other scans than AVAL and BASE: CHG = PAVAL - PBASE",
}
CHANGE_CLASSES = {
    "LOSS": "Smaller by more than the smallest detectable change",
    "GAIN": "Larger by more than the smallest detectable change",
    "WITHIN MEASUREMENT ERROR": "Within the smallest detectable change",
    "NO REPEATABILITY DATA": "No smallest detectable change of this software is known",
}
_REASON_TEXTS = {str(code): text for code, (_, text) in REASONS.items()}

TREATMENT = (
    Variable("TRTP", "Planned Treatment", "text", "Arm in the sealed arms file.", "Assigned"),
    Variable(
        "TRTPN",
        "Planned Treatment (N)",
        "integer",
        "Number of TRTP; the reference arm, or the first of the alphabet, is 1.",
        "Assigned",
    ),
)

_IDENTIFIERS = (
    Variable("STUDYID", "Study Identifier", "text", "Name of the study file.", "Protocol", 1),
    Variable("USUBJID", "Unique Subject Identifier", "text", "STUDYID-SUBJID.", "Assigned", 2),
    Variable(
        "SUBJID",
        "Subject Identifier for the Study",
        "text",
        "Participant of the study.",
        "Assigned",
    ),
    Variable(
        "SITEID",
        "Study Site Identifier",
        "text",
        "Site of the study file; may be empty.",
        "Assigned",
    ),
)

_PARAMETERS = (
    Variable(
        "ASEQ",
        "Analysis Sequence Number",
        "integer",
        "Number of the row within the subject, from 1.",
    ),
    Variable(
        "LAT",
        "Laterality",
        "text",
        "Which knee; empty when nobody could tell.",
        "Collected",
        3,
        {"LEFT": "Left knee", "RIGHT": "Right knee"},
    ),
    Variable(
        "INDEXFL",
        "Index Knee Flag",
        "text",
        "Whether this is the knee under study; empty when the study does not say.",
        "Assigned",
        codes=YES_NO,
    ),
    Variable(
        "PARAMCD",
        "Parameter Code",
        "text",
        "From the published table of parameters.",
        "Assigned",
        4,
    ),
    Variable("PARAM", "Parameter", "text", "Region, quantity and unit in words.", "Assigned"),
    Variable("PARAMN", "Parameter (N)", "integer", "Number of the parameter.", "Assigned"),
    Variable("PARCAT1", "Parameter Category 1", "text", "Group of parameters.", "Assigned"),
    Variable("REGION", "Region", "text", "Region as in the measurements table.", "Assigned"),
    Variable("QUANTITY", "Quantity", "text", "Quantity as in the measurements table.", "Assigned"),
    Variable(
        "MODALITY",
        "Imaging Modality",
        "text",
        "Kind of scan.",
        "Collected",
        codes={"MRI": "Magnetic resonance imaging", "FILM": "Radiograph"},
    ),
)

_TIMING = (
    Variable(
        "SCAN",
        "Repeated Scan within Visit",
        "text",
        "run-1, run-2, ... of repeated scans of one visit; empty for the only one and on averages.",
        "Collected",
    ),
    Variable("AVISIT", "Analysis Visit", "text", "Visit of the study file.", "Derived", 5),
    Variable(
        "AVISITN",
        "Analysis Visit (N)",
        "integer",
        "Target day of the visit; the day of an unscheduled one; 9001, 9002, ... for visits "
        "without a target.",
    ),
    Variable(
        "ADT",
        "Analysis Date",
        "date",
        "Date of the scan; empty unless the study file asks for dates.",
        "Collected",
    ),
    Variable(
        "ADY",
        "Analysis Relative Day",
        "integer",
        "Days since baseline, the day of baseline being 1; there is no day 0. Of an average the "
        "last.",
    ),
    Variable(
        "AWTARGET",
        "Analysis Window Target",
        "integer",
        "Target day of AVISIT, counted as ADY.",
        "Protocol",
    ),
    Variable(
        "AWTDIFF",
        "Analysis Window Diff from Target",
        "integer",
        "Days between ADY and AWTARGET, without sign.",
    ),
    Variable(
        "AWLO",
        "Analysis Window Beginning Timepoint",
        "integer",
        "First day of the window, counted as ADY.",
        "Protocol",
    ),
    Variable(
        "AWHI",
        "Analysis Window Ending Timepoint",
        "integer",
        "Last day of the window, counted as ADY.",
        "Protocol",
    ),
    Variable(
        "AWU",
        "Analysis Window Unit",
        "text",
        "Unit of the four above.",
        "Protocol",
        codes={"DAYS": "Days"},
    ),
)

_VALUES = (
    Variable(
        "AVAL",
        "Analysis Value",
        "float",
        "The visit's own measurement in the unit of PARAM; for ordered values and scores the "
        "change itself. Missing when not measured: never carried forward, never filled.",
    ),
    Variable(
        "AVALU",
        "Analysis Value Unit",
        "text",
        "Unit of AVAL, BASE, CHG, PAVAL, PBASE and SDC.",
        "Assigned",
    ),
    Variable(
        "AVALRSN",
        "Reason Code Where AVAL Is Missing",
        "text",
        "Why there is no value.",
        codes=_REASON_TEXTS,
    ),
    Variable(
        "DTYPE",
        "Derivation Type",
        "text",
        "AVERAGE on the mean of several scans of one visit, which are rows too.",
        codes={"AVERAGE": "Mean of the scans of one visit"},
    ),
    Variable(
        "ABLFL",
        "Baseline Record Flag",
        "text",
        "The record that BASE is taken from.",
        codes=YES,
    ),
    Variable(
        "ANL01FL",
        "Analysis Flag 01",
        "text",
        "The one measured record of a planned visit, knee and parameter: the single scan, or the "
        "average.",
        codes=YES,
    ),
    Variable("BASE", "Baseline Value", "float", "AVAL of the record with ABLFL = Y."),
)

_CHANGE = (
    Variable(
        "CHG",
        "Change from Baseline",
        "float",
        "Change of the change table, which holds only compared pairs. See CHGMTHD: where it is "
        "PAIRED, CHG is PAVAL - PBASE and differs from AVAL - BASE by CHGDIFF.",
    ),
    Variable(
        "PCHG",
        "Percent Change from Baseline",
        "float",
        "CHG in percent of PBASE, where that means something.",
    ),
    Variable("CHGMTHD", "Method of CHG", "text", "How CHG came about.", codes=CHANGE_METHODS),
    Variable(
        "CHGDIFF", "CHG minus (AVAL - BASE)", "float", "0 unless CHGMTHD is PAIRED or OTHER SCANS."
    ),
    Variable(
        "CHGRSN",
        "Reason Code Where CHG Is Missing",
        "text",
        "Why a pair was not compared.",
        codes=_REASON_TEXTS,
    ),
    Variable(
        "PAVAL",
        "Paired Value at This Visit",
        "float",
        "Follow-up value over the bone area that both visits share.",
    ),
    Variable("PBASE", "Paired Value at Baseline", "float", "Baseline value over the same area."),
    Variable(
        "CHGCAT1",
        "Change from Baseline Category 1",
        "text",
        "CHG against the smallest detectable change of a single knee.",
        codes=CHANGE_CLASSES,
    ),
    Variable(
        "SDC",
        "Smallest Detectable Change",
        "float",
        "95 % smallest detectable change of a single knee.",
    ),
    Variable("SDCSRC", "Source of SDC", "text", "The repeatability study that SDC comes from."),
    Variable(
        "DRIFTFL",
        "Protocol Drift Flag",
        "text",
        "The acquisition differs from that of baseline; what differs stands in the change table.",
        codes=YES,
    ),
)

_PROVENANCE = (
    Variable("METHOD", "Method of Measurement", "text", "How AVAL was measured."),
    Variable(
        "TABSRC",
        "Source of Total Bone Area",
        "text",
        "How the subchondral bone area of AVAL was obtained.",
    ),
    Variable(
        "AGGREG",
        "Aggregation over Regions",
        "text",
        "sum for sums over regions.",
        codes={"sum": "Sum over regions"},
    ),
    Variable(
        "FEMFRAC",
        "Femoral Fraction",
        "float",
        "Where the central femoral condyle ends (Eckstein 2006).",
    ),
    Variable(
        "SPACSRC", "Source of Pixel Spacing", "text", "Where the pixel size of a film comes from."
    ),
    Variable("QCFL", "Quality Control Flag", "text", "Whether AVAL carries QC codes.", codes=YES),
    Variable("QCCODES", "Quality Control Codes", "text", "The codes, joined by ;"),
    Variable(
        "SRCUID",
        "Source Series UID Hash",
        "text",
        "Names the image series without its UID; joined by ; on averages.",
    ),
    Variable("SWVER", "Software Version", "text", "Version of kneeimg.", "Assigned"),
    Variable(
        "MODEL",
        "Segmentation Model SHA-256",
        "text",
        "Hash of the network; empty for given masks.",
        "Assigned",
    ),
)


def adam_variables(*, with_arms: bool) -> tuple[Variable, ...]:
    """Columns of ADKNEE in order; treatment stands after the identifiers, when it is known.

    >>> [v.name for v in adam_variables(with_arms=True)][:6]
    ['STUDYID', 'USUBJID', 'SUBJID', 'SITEID', 'TRTP', 'TRTPN']
    """
    arms = TREATMENT if with_arms else ()
    return (
        *_IDENTIFIERS,
        *arms,
        *_PARAMETERS,
        *_TIMING,
        *_VALUES,
        *_CHANGE,
        *_PROVENANCE,
    )
