"""A page for those who call the owners of cards: the payments of a day that look like frauds, the likeliest first, and what the card paid before.

FTI_HOME=.fti/card_fraud PYTHONPATH=. streamlit run examples/card_fraud/app.py
"""

import altair as alt
import pandas as pd
import streamlit as st

import fti_assets as fti
from examples.card_fraud.system import authorizations, decisions
from fti_assets.errors import FtiError

SHOWN = ["probability", "at", "card", "terminal", "amount", "kilometres_from_home", "card_paid_1h", "terminal_cards_1d"]
NAMES = {
    "probability": "Probability",
    "at": "Paid at (UTC)",
    "card": "Card",
    "terminal": "Terminal",
    "amount": "Euros",
    "kilometres_from_home": "Kilometres from home",
    "card_paid_1h": "Payments of the card within an hour before",
    "terminal_cards_1d": "Cards at the terminal within a day before",
}


@st.cache_data(ttl="1min", show_spinner=False)
def decided() -> pd.DataFrame:
    """The decisions of the last stored day, with what was paid."""
    rows = fti.read(decisions, with_features=True).rename(columns={"fraud_probability": "probability"})
    return rows[rows["at"] >= rows["at"].max().normalize()].sort_values("probability", ascending=False)


@st.cache_data(ttl="1min", show_spinner=False)
def paid() -> pd.DataFrame:
    """All payments."""
    return fti.read(authorizations)


def page() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Alerts", page_icon="💳", layout="wide")
    st.title("Payments to look at")
    st.caption("The cards are simulated; nobody's are real.")
    try:
        rows, all_paid = decided(), paid()
    except FtiError as error:
        st.error(f"{error}. `make card_fraud` makes the decisions.")
        return
    least = st.sidebar.slider("Probability, at least", 0.05, 0.95, 0.5, 0.05, key="least")
    alerts = rows[rows["probability"] >= least]
    number, euros, cards = st.columns(3)
    number.metric("Alerts", f"{len(alerts)} of {len(rows):,} payments")
    euros.metric("Euros", f"{alerts['amount'].sum():,.0f}")
    cards.metric("Cards", f"{alerts['card'].nunique()}")
    st.dataframe(alerts[[name for name in SHOWN if name in alerts]].rename(columns=NAMES).round(3), hide_index=True)
    if alerts.empty:
        return
    card = st.sidebar.selectbox("Card", list(dict.fromkeys(alerts["card"])), key="card")
    week = all_paid[(all_paid["card"] == card) & (all_paid["at"] >= rows["at"].max() - pd.Timedelta("7D"))]
    week = week.assign(alert=week["authorization"].isin(alerts["authorization"]).map({True: "alert", False: "paid"}))
    color = alt.Color("alert:N", title=None, scale=alt.Scale(domain=["paid", "alert"], range=["#2471a3", "#c0392b"]))
    st.subheader(f"What card {card} paid within a week")
    points = alt.Chart(week).mark_circle(size=90)
    st.altair_chart(points.encode(alt.X("at:T", title=None), alt.Y("amount:Q", title="euros"), color), width="stretch")


if __name__ == "__main__":
    page()
