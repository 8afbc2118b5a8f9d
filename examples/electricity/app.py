"""A page for the control room: what tomorrow will take, how sure that is, and how good the last forecasts were.

FTI_HOME=.fti/electricity PYTHONPATH=. streamlit run examples/electricity/app.py
"""

import altair as alt
import pandas as pd
import streamlit as st

from examples.electricity.outcome import errors_by_week, outcome
from fti_assets.errors import FtiError

NAMES = {"forecast": "Forecast", "demand": "What came", "last_week": "Last week"}
COLORS = ["#2471a3", "#c0392b", "#999999"]
UNIT = alt.Scale(zero=False)


@st.cache_data(ttl="5min", show_spinner=False)
def rows() -> pd.DataFrame:
    """The stored forecasts beside what came."""
    return outcome()


def chart(day: pd.DataFrame) -> alt.LayerChart:
    """A day's forecast and range, what came, and last week."""
    time = alt.X("local:T", title=None, axis=alt.Axis(format="%H:%M"))
    band = alt.Chart(day).mark_area(opacity=0.2, color=COLORS[0])
    band = band.encode(time, alt.Y("low:Q", title="gigawatts", scale=UNIT), alt.Y2("high:Q"))
    lines = day.melt("local", list(NAMES), "which", "gigawatts").replace({"which": NAMES}).dropna()
    color = alt.Color("which:N", title=None, scale=alt.Scale(domain=list(NAMES.values()), range=COLORS))
    color = color.legend(orient="top")
    line = alt.Chart(lines).mark_line().encode(time, alt.Y("gigawatts:Q", scale=UNIT), color)
    layers: alt.LayerChart = (band + line).properties(height=360)
    return layers


def page() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Electricity of Victoria", page_icon="⚡", layout="wide")
    st.title("What tomorrow will take")
    try:
        known = rows()
    except FtiError as error:
        st.error(f"{error}. `make electricity` makes the forecasts.")
        return
    days = sorted(known["local"].dt.strftime("%Y-%m-%d").unique(), reverse=True)
    chosen = st.sidebar.selectbox("Day (Victoria's standard time)", days, key="day")
    day = known[known["local"].dt.strftime("%Y-%m-%d") == chosen]
    peak = day.loc[day["forecast"].idxmax()]
    expected, between, when = st.columns(3)
    expected.metric("Expected peak", f"{peak['forecast']:.2f} GW")
    between.metric("In eight of ten half hours", f"{peak['low']:.2f} to {peak['high']:.2f} GW")
    when.metric("At", f"{peak['local']:%H:%M}")
    st.altair_chart(chart(day), width="stretch")
    st.caption(
        f"Made at {day['predict_at'].iloc[0] + pd.Timedelta('10h'):%Y-%m-%d %H:%M}; the band is to hold eight of ten half hours."
    )
    st.subheader("Mean error by week, in gigawatts")
    st.dataframe(errors_by_week(known).round(3))


if __name__ == "__main__":
    page()
