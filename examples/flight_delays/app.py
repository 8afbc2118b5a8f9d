"""A page for the people at the gate: the risk that a flight is late, what it rests on, why, and what if.

    make serve

It reads the schedule from the lake and asks the server for the rest, so it has no copy of the model, its features or their rules.
``FLIGHTS_SERVER`` is the server's address, ``FLIGHTS_MODEL`` the model's name there.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

import fti_assets as fti
from examples.flight_delays.features import schedule
from fti_assets.errors import FtiError

SERVER = os.environ.get("FLIGHTS_SERVER", "http://127.0.0.1:8000")
MODEL = os.environ.get("FLIGHTS_MODEL", "delay")
DAYS = 4  # the newest days of the schedule that can be picked; rates are held online for a week
SHOWN_REASONS = 12
WHAT_IF = ["wind_speed", "visib", "precip", "last_leg_delay"]


class NoAnswerError(Exception):
    """The server gave no answer; the text says why."""


def ask(path: str, body: Any = None) -> Any:
    """Ask the server, and return what its JSON says.

    Raises:
        NoAnswerError: if it cannot be reached, or refuses.
    """
    request = urllib.request.Request(f"{SERVER}{path}", None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise NoAnswerError(json.load(error).get("error", str(error))) from error
    except OSError as error:
        raise NoAnswerError(f"no server answers at {SERVER}: `make serve` starts one ({error})") from error


def predict(
    flight: dict[str, Any], at: str, overrides: dict[str, float] | None = None, *, explain: bool = False
) -> Any:
    """The answer for one flight as of an instant, with other values of features and with reasons if asked."""
    path = f"/predict/{MODEL}?{urllib.parse.urlencode({'at': at})}"
    body = {"requests": [flight], "overrides": overrides or {}, "explain": explain}
    return ask(path, body)["predictions"][0]


@st.cache_data(ttl="5min", show_spinner=False)
def days() -> list[str]:
    """The newest days with flights, the newest first."""
    with fti.Stores().offline_store().connect() as lake:
        ledger = lake.ledger(schedule.table)
    return sorted((day for day, record in ledger.items() if record.rows), reverse=True)[:DAYS]


@st.cache_data(ttl="5min", show_spinner=False)
def flights_of(day: str) -> pd.DataFrame:
    """The flights for which a day's predictions are made, in the order of departure."""
    flights = fti.read(schedule, partitions=[day])
    return flights.sort_values(["scheduled_at", "flight_id"], ignore_index=True)


@st.cache_data(ttl="5min", show_spinner=False)
def fields() -> list[str]:
    """What the model wants to know of a flight, as the server says; the prediction time goes apart."""
    return [tensor["name"] for tensor in ask(f"/v2/models/{MODEL}")["inputs"]]


def request_of(flight: pd.Series) -> dict[str, Any]:
    """A flight as the server takes it: the model's fields, times as ISO text, null where missing."""
    values: dict[str, Any] = json.loads(flight[fields()].to_json(date_format="iso", date_unit="us"))
    return values


def pick_flight() -> pd.Series | None:
    """The flight that is chosen in the sidebar, or None where nothing flies."""
    with st.sidebar:
        st.header("Flight")
        day = st.selectbox("Day (UTC)", days(), key="day")
        if day is None:
            return None
        flights = flights_of(day)
        origin = st.selectbox("From", sorted(flights["origin"].unique()), key="origin")
        flights = flights[flights["origin"] == origin].reset_index(drop=True)
        number = st.selectbox(
            "Departure", flights.index, key="flight", format_func=lambda row: name_of(flights.loc[row])
        )
        return None if number is None else flights.loc[number]


def name_of(flight: pd.Series) -> str:
    """A flight as a person speaks of it."""
    plane = "plane unknown" if pd.isna(flight["tailnum"]) else flight["tailnum"]
    return f"{flight['scheduled_at']:%H:%M} UTC · {flight['carrier']} {flight['origin']} → {flight['dest']} · {plane}"


def show_risk(answer: dict[str, Any]) -> None:
    """The risk beside that of a usual flight, and who says so."""
    risk, usual = answer["value"], answer["explanation"]["base"]
    st.metric(
        "Risk of arriving 15 minutes late or more",
        f"{risk:.0%}",
        f"{(risk - usual) * 100:+.0f} points against a usual flight ({usual:.0%})",
        delta_color="inverse",
    )
    st.caption(f"As of {answer['at']} UTC, by {answer['model']} {answer['build']} ({answer['arm']})")
    if answer["missing"]:
        st.warning(f"Nothing is known of: {', '.join(answer['missing'])}. The model takes the usual values instead.")
    if answer["unknown"]:
        st.warning(f"The model has not learned the values of: {', '.join(answer['unknown'])}.")


def show_reasons(answer: dict[str, Any]) -> None:
    """What moved the risk most, in points; what is left over is one bar."""
    points = pd.Series(answer["explanation"]["contributions"]).mul(100)
    order = points.abs().sort_values(ascending=False).index
    first, others = order[:SHOWN_REASONS], order[SHOWN_REASONS:]
    reasons = pd.DataFrame(
        {"reason": [f"{name} = {number_text(answer['features'][name])}" for name in first], "points": points[first]}
    )
    if len(others):
        reasons.loc[len(reasons)] = [f"{len(others)} other features", points[others].sum()]
    bars = (
        alt.Chart(reasons)
        .mark_bar()
        .encode(
            x=alt.X("points:Q", title="points of risk"),
            y=alt.Y("reason:N", sort=None, title=None, axis=alt.Axis(labelLimit=320)),
            color=alt.condition("datum.points > 0", alt.value("#c0392b"), alt.value("#2471a3")),
        )
    )
    st.altair_chart(bars, width="stretch")
    st.caption("Shapley values: with the risk of a usual flight they add up to this one.")


def show_features(answer: dict[str, Any]) -> None:
    """Every feature as the model saw it, and how old each group's row was."""
    left, right = st.columns([3, 2])
    left.dataframe(
        pd.DataFrame(
            {
                "feature": answer["features"].keys(),
                "value": [number_text(value) for value in answer["features"].values()],
            }
        ),
        hide_index=True,
    )
    ages = [
        (group, "never changes, or no row" if age is None else f"{age / 60:.0f} min")
        for group, age in answer["ages"].items()
    ]
    right.dataframe(pd.DataFrame(ages, columns=["feature group", "age of its row"]), hide_index=True)


def show_what_if(flight: dict[str, Any], at: str, answer: dict[str, Any]) -> None:
    """The same flight with other values of the features that one chooses."""
    numbers = [
        name for name, value in answer["features"].items() if name not in flight and not isinstance(value, str | bool)
    ]
    chosen = st.multiselect(
        "What if these were different?", numbers, [name for name in WHAT_IF if name in numbers], key="what_if"
    )
    changed = {}
    for column, name in zip(st.columns(max(len(chosen), 1)), chosen, strict=False):
        value = answer["features"][name]
        start = None if value is None else float(value)
        # A key of each flight's own: the value of another flight would be kept, and taken for a change of this one.
        key = f"what_if_{name}_{flight['flight_id']}"
        other = column.number_input(name, value=start, placeholder="unknown", key=key)
        if other is not None and other != value:
            changed[name] = other
    if not changed:
        st.info("Change a value to see what it does to the risk.")
        return
    other = predict(flight, at, changed)
    st.metric(
        "The risk would be",
        f"{other['value']:.0%}",
        f"{(other['value'] - answer['value']) * 100:+.1f} points",
        delta_color="inverse",
    )
    st.caption(f"With other values of {', '.join(other['overridden'])}; everything else as it is.")


def number_text(value: Any) -> str:
    """A feature's value as text."""
    return "unknown" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def page() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Will it be late?", page_icon="✈️", layout="wide")
    st.title("Will it be late?")
    try:
        flight = pick_flight()
        if flight is None:
            st.info("The lake has no flights yet: `make demo` lands and materializes them.")
            return
        request, at = request_of(flight), flight["predict_at"].isoformat()
        answer = predict(request, at, explain=True)
        st.subheader(name_of(flight))
        show_risk(answer)
        why, features, what_if = st.tabs(["Why", "Features", "What if"])
        with why:
            show_reasons(answer)
        with features:
            show_features(answer)
        with what_if:
            show_what_if(request, at, answer)
    except (NoAnswerError, FtiError) as error:
        st.error(str(error))


if __name__ == "__main__":
    page()
