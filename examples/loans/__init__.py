"""Will an application for a loan be graded D or worse? Ten thousand loans of the first quarter of 2018, from requests to decisions."""
