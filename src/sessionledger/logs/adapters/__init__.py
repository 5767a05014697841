"""Adapters between the two colours of a log: synchronous and asynchronous."""
