"""Alerts: what a person on call is told, once when it begins and once when it is over."""
