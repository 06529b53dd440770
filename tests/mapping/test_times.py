"""Times as logs write them: what each format reads, and what it does not."""

from __future__ import annotations

import email.utils
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import MappingError
from adapter.mapping.conversion import convert_time
from adapter.mapping.language import Lookup
from adapter.mapping.table import Table
from adapter.mapping.times import FORMAT_LENGTH, check_format, read_zone
from adapter.workbench.explain import explain

Make = Callable[[str], Table]
NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY = 86_400_000


def read(text: object, form: Any, zone: str | None = None, arrival: int = NOW) -> int | None:
    lookup = Lookup.model_validate({"path": "at", "as": form, "zone": zone})
    return convert_time(lookup)(text, *([arrival] if lookup.needs_arrival else []))


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def milliseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("form", "text", "time"),
    [
        ("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2025:13:55:36 -0700", "2025-10-10T20:55:36Z"),
        ("%Y-%m-%d %H:%M:%S,%f", "2025-10-10 13:55:36,789", "2025-10-10T13:55:36.789Z"),
        ("%a %b %d %H:%M:%S %Y", "Fri Oct  3 13:55:36 2025", "2025-10-03T13:55:36Z"),
        ("%A, %B %e, %Y %I:%M %p", "friday, october 3, 2025 1:05 pm", "2025-10-03T13:05:00Z"),
        ("%m/%d/%Y %I:%M:%S %p", "1/2/2025 12:00:00 AM", "2025-01-02T00:00:00Z"),
        ("%m/%d/%Y %I:%M:%S %p", "1/2/2025 12:00:00 PM", "2025-01-02T12:00:00Z"),
        ("%F %T.%f%z", "2025-10-10 13:55:36.123456789+05:30", "2025-10-10T08:25:36.123Z"),
        ("%D %R", "10/09/25 07:08", "2025-10-09T07:08:00Z"),
        ("%Y%m%d%H%M%S", "20251010135536", "2025-10-10T13:55:36Z"),
        ("%Y%m%d%H%M%S", 20251010135536, "2025-10-10T13:55:36Z"),
        ("%Y-%m-%dT%H:%M:%S%z", "2025-10-10T13:55:36Z", "2025-10-10T13:55:36Z"),
        ("%Y-%m-%d", "2025-10-10", "2025-10-10T00:00:00Z"),
        ("%d.%m.%y um %H Uhr (100%%)", "1.2.25 um 7 Uhr (100%)", "2025-02-01T07:00:00Z"),
        ("[%d/%b/%Y]", "  [01/feb/2025] ", "2025-02-01T00:00:00Z"),
        ("rfc2822", "Fri, 10 Oct 2025 13:55:36 -0700", "2025-10-10T20:55:36Z"),
        ("rfc2822", "10 Oct 2025 13:55 GMT", "2025-10-10T13:55:00Z"),
        ("rfc2822", "Fri, 3 Oct 2025 13:55:36 EDT (summer)", "2025-10-03T17:55:36Z"),
        ("syslog", "Oct  3 13:55:36", "2025-10-03T13:55:36Z"),
        ("syslog", "Oct 13 13:55:36.25", "2025-10-13T13:55:36.250Z"),
    ],
)
def test_a_time_is_read_as_its_format_says(form: str, text: object, time: str) -> None:
    assert read(text, form) == utc(time)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%Y-%m-%d", "2025-02-30"),
        ("%Y-%m-%d", "2025-13-01"),
        ("%Y-%m-%d", "2025-00-01"),
        ("%Y-%m-%d", "2025-10-"),
        ("%Y-%m-%d", "2025-10-101"),
        ("%Y-%m-%d", "0001-01-01"),
        ("%Y-%m-%d", "9999-12-31"),
        ("%Y-%m-%d", "１９９９-10-10"),
        ("%Y-%m-%d %H:%M", "2025-10-10 24:00"),
        ("%Y-%m-%d %I:%M %p", "2025-10-10 13:00 PM"),
        ("%Y-%m-%d %H:%M:%S", "2025-10-10 13:00:60"),
        ("%d %b %Y", "10 Okt 2025"),
        ("%Y-%m-%d %z", "2025-10-10 +2400"),
        ("%Y-%m-%d %z", "2025-10-10 CEST"),
        ("rfc2822", "2025-10-10T00:00:00Z"),
        ("rfc2822", "Fri, 10 Oct 2025"),
        ("syslog", "Oct 32 13:55:36"),
        ("syslog", "Feb 30 13:55:36"),
        ("syslog", "2025 Oct  3 13:55:36"),
        ("%Y-%m-%d", "2025-10-10" + " " * 5 + "x" * 100_000),
        ("%Y-%m-%d", ""),
        ("%Y-%m-%d", None),
        ("%Y-%m-%d", True),
        ("%Y-%m-%d", {"a": 1}),
        ("%Y-%m-%d", ["2025-10-10"]),
        ("%Y-%m-%d", 1e300),
    ],
)
def test_what_a_format_does_not_fit_is_no_time(form: str, text: object) -> None:
    assert read(text, form) is None


def test_the_first_of_several_forms_that_fits_reads_the_time() -> None:
    forms = ["%d.%m.%Y", "%m.%d.%Y", "rfc2822", "syslog", "rfc3339", "milliseconds"]
    assert read("02.03.2025", forms) == utc("2025-03-02T00:00:00Z")
    assert read("02.13.2025", forms) == utc("2025-02-13T00:00:00Z")
    assert read("Oct  3 13:55:36", forms) == utc("2025-10-03T13:55:36Z")
    assert read("2025-10-03T13:55:36+02:00", forms) == utc("2025-10-03T11:55:36Z")
    assert read(1_759_499_736_123, forms) == 1_759_499_736_123
    assert read("soon", forms) is None


# Zones


@pytest.mark.parametrize(
    ("zone", "text", "time"),
    [
        ("Europe/Berlin", "2025-01-10 12:00", "2025-01-10T11:00:00Z"),
        ("Europe/Berlin", "2025-07-10 12:00", "2025-07-10T10:00:00Z"),
        # Comes twice: the earlier one, in summer time.
        ("Europe/Berlin", "2025-10-26 02:30", "2025-10-26T00:30:00Z"),
        ("Europe/Berlin", "2025-10-26 03:00", "2025-10-26T02:00:00Z"),
        # Was skipped: read with the clock of before.
        ("Europe/Berlin", "2025-03-30 02:30", "2025-03-30T01:30:00Z"),
        ("+05:30", "2025-01-10 12:00", "2025-01-10T06:30:00Z"),
        ("-0800", "2025-01-10 12:00", "2025-01-10T20:00:00Z"),
        ("UTC", "2025-01-10 12:00", "2025-01-10T12:00:00Z"),
        (None, "2025-01-10 12:00", "2025-01-10T12:00:00Z"),
    ],
)
def test_a_time_without_a_zone_is_of_the_one_that_the_table_names(zone: str | None, text: str, time: str) -> None:
    assert read(text, "%Y-%m-%d %H:%M", zone) == utc(time)
    assert read(text, "rfc3339", zone) == utc(time)


def test_a_zone_in_the_text_counts_before_the_one_of_the_table() -> None:
    forms = ["rfc3339", "%d/%b/%Y:%H:%M:%S %z"]
    assert read("2025-01-10T12:00:00Z", forms, "Europe/Berlin") == utc("2025-01-10T12:00:00Z")
    assert read("10/Jan/2025:12:00:00 -0100", forms, "Europe/Berlin") == utc("2025-01-10T13:00:00Z")


@pytest.mark.parametrize(
    "name", ["Mars/Base", "", "../../etc/passwd", "/etc/localtime", "Europe", "+25:00", "x" * 1000]
)
def test_a_zone_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        read_zone(name)


# The year


@pytest.mark.parametrize(
    ("text", "arrival", "time"),
    [
        ("Dec 31 23:59:59", "2026-01-01T00:00:01Z", "2025-12-31T23:59:59Z"),
        ("Jan  1 00:00:01", "2025-12-31T23:59:00Z", "2026-01-01T00:00:01Z"),
        ("Jan  1 23:00:00", "2025-12-31T22:59:00Z", "2025-01-01T23:00:00Z"),
        ("Jan  1 23:00:00", "2025-12-31T23:00:00Z", "2026-01-01T23:00:00Z"),
        ("Feb 29 12:00:00", "2026-03-01T00:00:00Z", "2024-02-29T12:00:00Z"),
        ("Feb 29 12:00:00", "2028-03-01T00:00:00Z", "2028-02-29T12:00:00Z"),
        ("Feb 28 12:00:00", "2026-02-27T12:00:00Z", "2026-02-28T12:00:00Z"),
    ],
)
def test_the_year_is_the_latest_that_is_not_more_than_a_day_ahead_of_the_arrival(
    text: str, arrival: str, time: str
) -> None:
    assert read(text, "syslog", arrival=utc(arrival)) == utc(time)
    assert read(text, "%b %d %H:%M:%S", arrival=utc(arrival)) == utc(time)


def test_the_year_is_counted_in_the_zone_of_the_time() -> None:
    assert read("Jan  1 00:30:00", "syslog", "Europe/Berlin", utc("2025-12-31T23:40:00Z")) == utc(
        "2025-12-31T23:30:00Z"
    )
    assert read("Dec 31 23:30:00", "syslog", "-0800", utc("2026-01-01T07:40:00Z")) == utc("2026-01-01T07:30:00Z")


# Held against the standard library

moments = st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30))
FORMATS = [
    "%Y-%m-%d %H:%M:%S.%f",
    "%d/%b/%Y:%H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%A %d %B %Y %I:%M:%S %p",
    "%Y%m%d%H%M%S",
    "%m/%d/%Y",
    "%y-%m-%d %H.%M",
]


@given(moments, st.sampled_from(FORMATS), st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "-03:30"]))
def test_what_is_written_with_a_format_is_read_with_it(moment: datetime, form: str, zone: str) -> None:
    text = moment.strftime(form)
    try:
        expected = datetime.strptime(text, form)
    except ValueError:
        return
    if expected.year < 2000:
        return
    assert read(text, form, zone) == milliseconds(expected.replace(tzinfo=read_zone(zone)).astimezone(UTC))


@given(moments, st.sampled_from(FORMATS), st.data())
def test_a_changed_text_means_what_strptime_says_or_nothing(moment: datetime, form: str, data: st.DataObject) -> None:
    letters = list(moment.strftime(form))
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(letters) - 1))
        letters[at] = data.draw(st.sampled_from([*"0123456789-:/.apmJb", ""]))
    text = "".join(letters)
    try:
        expected = datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
    except ValueError:
        assert read(text, form) is None or "%f" in form
        return
    if 2000 <= expected.year < 2100:
        assert read(text, form) == milliseconds(expected)


@given(moments, st.integers(-12 * 60, 14 * 60))
def test_times_of_mails_are_read_as_the_standard_library_writes_them(moment: datetime, minutes: int) -> None:
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert read(email.utils.format_datetime(aware), "rfc2822") == milliseconds(aware)
    assert read(aware.strftime("%d/%b/%Y:%H:%M:%S %z"), "%d/%b/%Y:%H:%M:%S %z") == milliseconds(aware)


@given(moments, st.integers(-DAY, 363 * DAY), st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Auckland"]))
def test_a_time_of_the_last_year_or_the_next_day_is_found_again_without_its_year(
    moment: datetime, age: int, zone: str
) -> None:
    wall = moment.replace(microsecond=0)
    time = milliseconds(wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))
    found = read(wall.strftime("%b %d %H:%M:%S"), "syslog", zone, time + age)
    if (wall.month, wall.day) == (2, 29) or wall.year == 2000 or found is None:
        return
    assert found == time


@given(st.text(max_size=60), st.sampled_from([*FORMATS, "rfc2822", "syslog", "rfc3339", "%d %m"]))
def test_no_text_raises(text: str, form: str) -> None:
    for zone in (None, "Europe/Berlin"):
        if zone is None or ("%z" not in form and form != "rfc2822"):
            read(text, form, zone)


@given(st.text(alphabet="%YymbdaHIpMSfz -/()[]\\+*?{", max_size=20))
def test_a_format_is_refused_with_its_reason_or_reads_texts(form: str) -> None:
    try:
        check_format(form)
    except ValueError as error:
        assert "format" in str(error)
    else:
        read("2025-10-10 00:00", form)


# In a table

TABLE = """
type: kind
identity: {strong: id}
types: {in: {type: LOGIN}, out: {type: LOGOUT, fields: {time: {path: out, as: syslog, zone: Europe/Berlin}}}}
"""


def event_of(table: Table, raw: dict[str, Any], now: int = NOW) -> dict[str, Any]:
    event = table.read({"kind": "in", "id": "1", **raw}, now)[0]
    assert isinstance(event, dict)
    return event


def test_a_table_reads_times_by_the_forms_it_names(make_table: Make) -> None:
    table = make_table(TABLE + 'fields: {time: {path: [at, ts], as: ["%d/%b/%Y", syslog], zone: Europe/Berlin}}')
    assert event_of(table, {"at": "10/Jan/2025"})["time"] == utc("2025-01-09T23:00:00Z")
    assert event_of(table, {"at": "soon", "ts": "Dec 31 12:00:00"})["time"] == utc("2025-12-31T11:00:00Z")
    lost = event_of(table, {"at": "soon"})
    assert (lost["time"], lost["details"]) == (NOW, {"time_problem": "not a plausible time: soon"})
    assert event_of(table, {"kind": "out", "out": "Dec 30 12:00:00"})["time"] == utc("2025-12-30T11:00:00Z")


def test_a_time_may_be_put_together_of_several_fields(make_table: Make) -> None:
    table = make_table(TABLE + 'fields: {time: {template: "{date} {clock}", as: "%Y-%m-%d %H:%M"}}')
    assert event_of(table, {"date": "2025-01-10", "clock": "12:30"})["time"] == utc("2025-01-10T12:30:00Z")


def test_a_time_with_a_year_may_be_a_detail_too(make_table: Make) -> None:
    table = make_table(TABLE + 'fields: {details.until: {path: until, as: "%Y-%m-%d", zone: "+01:00"}}')
    assert event_of(table, {"until": "2025-01-10"})["details"]["until"] == str(utc("2025-01-09T23:00:00Z"))


def test_what_read_the_time_is_explained(make_table: Make) -> None:
    table = make_table(TABLE + "fields: {time: {path: at, as: [syslog, rfc2822], zone: Europe/Berlin}}")
    [told] = explain(table, table.split(b'{"kind": "in", "id": "1", "at": "Dec 31 12:00:00"}'), NOW)
    assert told.fields["time"].by == "at (as ['syslog', 'rfc2822'], zone 'Europe/Berlin')"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{path: at, as: '%Q'}", "there is no directive %Q in a format; there are %Y %y %m"),
        ("{path: at, as: '%Y-%m'}", "needs a day (%d) and a month (%m, or %b for its name)"),
        ("{path: at, as: '%Y-%m-%d %d'}", "has %d twice"),
        ("{path: at, as: '%Y-%m-%d %I'}", "needs %I and %p together"),
        ("{path: at, as: '%Y-%y-%m-%d'}", "has the year twice"),
        ("{path: at, as: '%Y-%b-%m-%d'}", "has the month twice"),
        ("{path: at, as: '%Y-%m-%d %'}", "there is no directive % in a format"),
        (f"{{path: at, as: '%Y-%m-%d{'x' * FORMAT_LENGTH}'}}", f"has {8 + FORMAT_LENGTH} characters"),
        ("{path: at, as: rfc822}", "'rfc822' is no conversion; did you mean rfc2822?"),
        ("{path: at, as: [rfc2822, lower]}", "`as` may have several words where all of them are times"),
        ("{path: at, as: []}", "`as` may have several words where all of them are times"),
        ("{path: at, as: rfc3339, zone: Moon}", "'Moon' is no time zone of this system"),
        ("{path: at, as: seconds, zone: UTC}", "`zone` is for times that are written without one"),
        ("{path: at, as: rfc2822, zone: UTC}", "`zone` is for times that are written without one"),
        ("{path: at, as: '%Y-%m-%d %z', zone: UTC}", "`zone` is for times that are written without one"),
        ("{path: at, zone: UTC}", "`zone` is for times that are written without one"),
    ],
)
def test_a_form_that_cannot_be_used_is_refused_with_its_place(make_table: Make, value: str, told: str) -> None:
    with pytest.raises(MappingError) as refused:
        make_table(TABLE + f"fields: {{time: {value}}}")
    assert "fields.time" in str(refused.value)
    assert told in str(refused.value)


@pytest.mark.parametrize("form", ["syslog", "'%b %d'", "[rfc3339, syslog]"])
def test_a_time_without_a_year_is_for_the_field_time_alone(make_table: Make, form: str) -> None:
    lookup = f"{{path: at, as: {form}}}"
    make_table(TABLE + f"fields: {{time: [at, {lookup}]}}")
    with pytest.raises(MappingError, match=r"fields\.details\.at: a time without a year is for `time` alone"):
        make_table(TABLE + f"fields: {{details.at: {lookup}}}")
    with pytest.raises(MappingError, match="a time without a year is for `time` alone"):
        make_table(TABLE.replace("strong: id", f"strong: {lookup}"))
