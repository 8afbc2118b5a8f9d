"""Connections to brokers, each of use until it breaks, and what goes on from one to the next."""
