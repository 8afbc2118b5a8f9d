"""A page for those who call the owners of cards: the likeliest frauds of a day, and what the card paid in the week before.

FTI_HOME=.fti/card_fraud PYTHONPATH=. streamlit run examples/card_fraud/app.py
"""

import altair as alt
import pandas as pd
import streamlit as st

import fti_assets as fti
from examples.card_fraud.system import authorizations, decisions
from fti_assets.errors import FtiError

NAMES = {
    "probability": "Probability",
    "at": "Paid at (UTC)",
    "card": "Card",
    "terminal": "Terminal",
    "amount": "Euros",
}


@st.cache_data(ttl="1min", show_spinner=False)
def paid() -> pd.DataFrame:
    """All payments, with their ``probability`` where one was decided."""
    answers = fti.read(decisions)[["authorization", "probability"]]
    rows: pd.DataFrame = fti.read(authorizations).merge(answers, on="authorization", how="left")
    return rows


def page() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Alerts", page_icon="💳", layout="wide")
    st.title("Payments to look at")
    st.caption("The cards are simulated; nobody's are real.")
    try:
        known = paid()
    except FtiError as error:
        st.error(f"{error}. `make card_fraud` makes the decisions.")
        return
    rows = known[known["probability"].notna() & (known["at"] >= known["at"].max().normalize())]
    least = st.sidebar.slider("Probability, at least", 0.05, 0.95, 0.5, 0.05, key="least")
    alerts = rows[rows["probability"] >= least].sort_values("probability", ascending=False)
    number, euros, cards = st.columns(3)
    number.metric("Alerts, of all payments", f"{len(alerts)} of {len(rows):,}")
    euros.metric("Euros", f"{alerts['amount'].sum():,.0f}")
    cards.metric("Cards", f"{alerts['card'].nunique()}")
    st.dataframe(alerts[list(NAMES)].round({"probability": 3}).rename(columns=NAMES), hide_index=True)
    if alerts.empty:
        return
    card = st.sidebar.selectbox("Card", list(dict.fromkeys(alerts["card"])), key="card")
    week = known[(known["card"] == card) & (known["at"] >= rows["at"].max() - pd.Timedelta("7D"))]
    week = week.assign(alert=week["authorization"].isin(alerts["authorization"]).map({True: "alert", False: "paid"}))
    color = alt.Color("alert:N", title=None, scale=alt.Scale(domain=["paid", "alert"], range=["#2471a3", "#c0392b"]))
    st.subheader(f"What card {card} paid within a week")
    points = alt.Chart(week).mark_circle(size=90)
    st.altair_chart(points.encode(alt.X("at:T", title=None), alt.Y("amount:Q", title="euros"), color), width="stretch")


if __name__ == "__main__":
    page()
