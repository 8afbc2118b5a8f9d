"""What follows from an application alone."""

import numpy as np

import fti_assets as fti

REGIONS = {
    "northeast": ["CT", "ME", "MA", "NH", "NJ", "NY", "PA", "RI", "VT"],
    "midwest": ["IA", "IL", "IN", "KS", "MI", "MN", "MO", "ND", "NE", "OH", "SD", "WI"],
    "south": ["AL", "AR", "DC", "DE", "FL", "GA", "KY", "LA", "MD", "MS", "NC", "OK", "SC", "TN", "TX", "VA", "WV"],
    "west": ["AK", "AZ", "CA", "CO", "HI", "ID", "MT", "NM", "NV", "OR", "UT", "WA", "WY"],
}


@fti.on_demand(outputs={"region": str})
def region(state: np.ndarray) -> dict[str, np.ndarray]:
    """The part of the country, as the census has it; none of what is not a state."""
    known = {state: name for name, states in REGIONS.items() for state in states}
    return {"region": np.array([known.get(one) for one in state], dtype=object)}


@fti.on_demand(outputs={"loan_to_income": float, "credit_used": float, "credit_years": int, "history": str})
def ratios(
    loan_amount: np.ndarray,
    annual_income: np.ndarray,
    total_credit_limit: np.ndarray,
    total_credit_utilized: np.ndarray,
    earliest_credit_line: np.ndarray,
) -> dict[str, np.ndarray]:
    """How large the loan and the debts are beside the means, and for how long there has been credit: a trace of age."""
    years = 2018 - earliest_credit_line
    spans = np.select(
        [years < 10, years < 20, years >= 20], ["under 10 years", "10 to 19 years", "20 years or more"], ""
    ).astype(object)
    spans[np.isnan(years)] = None  # an unknown year is no long history
    return {
        "loan_to_income": loan_amount / np.maximum(annual_income, 1),
        "credit_used": total_credit_utilized / np.maximum(total_credit_limit, 1),
        "credit_years": years,
        "history": spans,
    }
