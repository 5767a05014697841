"""Requests that leave this process, for webhooks and keys: only to addresses that were checked."""
