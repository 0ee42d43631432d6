"""Define-XML 2.1: what each column, value and code of an analysis dataset means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg.core.dataset import DatasetDescription, Parameter, Variable
from kneeimg.io.atomic import write_text
from kneeimg.io.dataset_files import (
    NO_TIME,
    group_oid,
    iso_time,
    item_oid,
    metadata_oid,
    study_oid,
    text_length,
)

if TYPE_CHECKING:
    import pandas as pd

_ODM = "http://www.cdisc.org/ns/odm/v1.3"
_NAMESPACES = {
    "def": "http://www.cdisc.org/ns/def/v2.1",
    "xlink": "http://www.w3.org/1999/xlink",
}
_STANDARD = "STD.ADAMIG"
_CODE_COLUMN = "PARAMCD"
_VALUE_COLUMN = "AVAL"
#: Columns whose codes follow from the rows, in the order of the column beside them.
_OPEN_LISTS = {"AVISIT": "AVISITN", "TRTP": "TRTPN", "PARCAT1": "PARAMN"}
#: A longer list of codes is cut to those that occur.
_SHORT_LIST = 12
#: Digits of a double before and after the point, as planned lengths.
_FLOAT = {"Length": 24, "SignificantDigits": 17}
_INTEGER = {"Length": 8}


def write_define(
    path: Path, frame: pd.DataFrame, about: DatasetDescription, created: datetime = NO_TIME
) -> None:
    """Metadata of one dataset, one tag per line."""
    xml = _document(frame, about, created).to_xml_string(xml_declaration=True)
    write_text(path, xml.replace("><", ">\n<") + "\n")


def _document(frame: pd.DataFrame, about: DatasetDescription, created: datetime) -> Any:
    import odmlib.define_2_1.model as define
    from odmlib import ns_registry

    register: Any = ns_registry.NamespaceRegistry
    register(prefix="odm", uri=_ODM, is_default=True, is_reset=True)
    for prefix, uri in _NAMESPACES.items():
        register(prefix=prefix, uri=uri)
    study = define.Study(OID=study_oid(about.study))
    study.GlobalVariables = define.GlobalVariables(
        StudyName=define.StudyName(_content=about.study),
        StudyDescription=define.StudyDescription(_content=f"Knee imaging of {about.study}"),
        ProtocolName=define.ProtocolName(_content=about.study),
    )
    study.MetaDataVersion = _metadata(define, frame, about)
    return define.ODM(
        FileType="Snapshot",
        FileOID=f"{study_oid(about.study)}.{about.name}.define",
        CreationDateTime=iso_time(created),
        ODMVersion="1.3.2",
        Originator="kneeimg",
        SourceSystem="kneeimg",
        SourceSystemVersion=about.software,
        Context="Other",
        Study=study,
    )


def _metadata(define: Any, frame: pd.DataFrame, about: DatasetDescription) -> Any:
    lists = _code_lists(frame, about)
    standard = define.Standard(
        OID=_STANDARD, Name="ADaMIG", Type="IG", Version="1.1", Status="Final"
    )
    return define.MetaDataVersion(
        OID=metadata_oid(about.study),
        Name=f"{about.study} analysis datasets",
        DefineVersion="2.1.0",
        Standards=define.Standards(Standard=[standard]),
        ValueListDef=_value_lists(define, about),
        WhereClauseDef=[_where(define, about.name, p) for p in about.parameters],
        ItemGroupDef=[_group(define, about)],
        ItemDef=[
            *(_item(define, frame, about, variable, lists) for variable in about.variables),
            *(_value_item(define, about, parameter) for parameter in about.parameters),
        ],
        CodeList=[_code_list(define, name, codes) for name, codes in lists.items()],
        MethodDef=[_method(define, about.name, v) for v in about.variables if _derived(v)],
    )


def _words(define: Any, text: str) -> Any:
    return define.Description(TranslatedText=[define.TranslatedText(_content=text, lang="en")])


def _derived(variable: Variable) -> bool:
    return variable.origin == "Derived"


def _group(define: Any, about: DatasetDescription) -> Any:
    group = define.ItemGroupDef(
        OID=group_oid(about.name),
        Name=about.name,
        Repeating="Yes",
        IsReferenceData="No",
        SASDatasetName=about.name,
        Purpose="Analysis",
        Structure=about.structure,
        ArchiveLocationID=f"LF.{about.name}",
        StandardOID=_STANDARD,
        Description=_words(define, about.label),
        Class=define.Class(Name="BASIC DATA STRUCTURE"),
        leaf=define.leaf(
            ID=f"LF.{about.name}",
            href=f"{about.name}.xpt",
            title=define.title(_content=f"{about.name}.xpt"),
        ),
    )
    group.ItemRef = [
        define.ItemRef(
            ItemOID=item_oid(about.name, variable.name),
            OrderNumber=place,
            Mandatory="No" if variable.key is None else "Yes",
            **({} if variable.key is None else {"KeySequence": variable.key}),
            **({"MethodOID": _method_oid(about.name, variable)} if _derived(variable) else {}),
        )
        for place, variable in enumerate(about.variables, start=1)
    ]
    return group


def _item(
    define: Any,
    frame: pd.DataFrame,
    about: DatasetDescription,
    variable: Variable,
    lists: Mapping[str, Mapping[str, str]],
) -> Any:
    sizes = {
        "text": {"Length": text_length(frame, variable)} if variable.data_type == "text" else {},
        "integer": _INTEGER,
        "float": _FLOAT,
        "date": {},
    }[variable.data_type]
    item = define.ItemDef(
        OID=item_oid(about.name, variable.name),
        Name=variable.name,
        DataType=variable.data_type,
        SASFieldName=variable.name,
        **sizes,
    )
    if variable.data_type == "date":
        item.DisplayFormat = "DATE9."
    item.Description = _words(define, variable.label)
    if variable.name in lists:
        item.CodeListRef = define.CodeListRef(CodeListOID=_list_oid(variable.name))
    item.Origin = [_origin(define, variable)]
    if variable.name == _VALUE_COLUMN and about.parameters:
        item.ValueListRef = define.ValueListRef(ValueListOID=_value_list_oid(about.name))
    return item


def _origin(define: Any, variable: Variable) -> Any:
    """Where a column comes from; what is not computed is explained here, the rest in its method."""
    source = "Vendor" if variable.origin == "Collected" else "Sponsor"
    origin = define.Origin(Type=variable.origin, Source=source)
    if not _derived(variable):
        origin.Description = _words(define, variable.meaning)
    return origin


def _method_oid(dataset: str, variable: Variable) -> str:
    return f"MT.{dataset}.{variable.name}"


def _method(define: Any, dataset: str, variable: Variable) -> Any:
    return define.MethodDef(
        OID=_method_oid(dataset, variable),
        Name=f"{variable.name} of {dataset}",
        Type="Computation",
        Description=_words(define, variable.meaning),
    )


def _value_list_oid(dataset: str) -> str:
    return f"VL.{dataset}.{_VALUE_COLUMN}"


def _value_oid(dataset: str, parameter: Parameter) -> str:
    return item_oid(dataset, f"{_VALUE_COLUMN}.{parameter.paramcd}")


def _where_oid(dataset: str, parameter: Parameter) -> str:
    return f"WC.{dataset}.{_CODE_COLUMN}.{parameter.paramcd}"


def _value_lists(define: Any, about: DatasetDescription) -> list[Any]:
    """AVAL of each parameter."""
    if not about.parameters:
        return []
    references = [
        define.ItemRef(
            ItemOID=_value_oid(about.name, parameter),
            OrderNumber=place,
            Mandatory="No",
            WhereClauseRef=[
                define.WhereClauseRef(WhereClauseOID=_where_oid(about.name, parameter))
            ],
        )
        for place, parameter in enumerate(about.parameters, start=1)
    ]
    return [define.ValueListDef(OID=_value_list_oid(about.name), ItemRef=references)]


def _where(define: Any, dataset: str, parameter: Parameter) -> Any:
    check = define.RangeCheck(
        Comparator="EQ", SoftHard="Soft", ItemOID=item_oid(dataset, _CODE_COLUMN)
    )
    check.CheckValue = [define.CheckValue(_content=parameter.paramcd)]
    return define.WhereClauseDef(OID=_where_oid(dataset, parameter), RangeCheck=[check])


def _value_item(define: Any, about: DatasetDescription, parameter: Parameter) -> Any:
    meaning = about.definitions.get(parameter.paramcd, parameter.param)
    source = f" [{parameter.source}]" if parameter.source else ""
    item = define.ItemDef(
        OID=_value_oid(about.name, parameter),
        Name=_VALUE_COLUMN,
        DataType="float",
        SASFieldName=_VALUE_COLUMN,
        **_FLOAT,
    )
    item.Description = _words(define, f"{meaning}; unit {parameter.unit}{source}")
    item.Origin = [define.Origin(Type="Derived", Source="Sponsor")]
    return item


def _list_oid(variable: str) -> str:
    return f"CL.{variable}"


def _code_lists(frame: pd.DataFrame, about: DatasetDescription) -> dict[str, Mapping[str, str]]:
    """Column to its codes and their meanings; no list for a column without any."""
    lists: dict[str, Mapping[str, str]] = {}
    for variable in about.variables:
        name = variable.name
        if name == _CODE_COLUMN:
            codes: Mapping[str, str] = {p.paramcd: p.param for p in about.parameters}
        elif name in _OPEN_LISTS:
            ordered = frame.sort_values(_OPEN_LISTS[name], kind="stable")[name]
            codes = {value: value for value in ordered.unique() if value}
        else:
            codes = _occurring(variable, frame)
        if codes:
            lists[name] = codes
    return lists


def _occurring(variable: Variable, frame: pd.DataFrame) -> Mapping[str, str]:
    codes = variable.codes or {}
    if len(codes) <= _SHORT_LIST:
        return codes
    present = set(frame[variable.name].unique())
    return {code: text for code, text in codes.items() if code in present}


def _code_list(define: Any, variable: str, codes: Mapping[str, str]) -> Any:
    return define.CodeList(
        OID=_list_oid(variable),
        Name=f"Codes of {variable}",
        DataType="text",
        IsNonStandard="Yes",
        CodeListItem=[
            define.CodeListItem(
                CodedValue=code,
                Decode=define.Decode(
                    TranslatedText=[define.TranslatedText(_content=text, lang="en")]
                ),
            )
            for code, text in codes.items()
        ],
    )
