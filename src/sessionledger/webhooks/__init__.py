"""Webhooks: what happens to sessions, told to an address on the web (Standard Webhooks).

endpoints   who is told of what, kept in a file that only its owner may read
signing     the three headers by which a receiver knows who speaks
messages    an event as what is sent
addresses   which IP addresses are public
network     connections, to no other address than one that was checked
delivery    one endpoint: from its durable cursor, in order, at least once
dispatcher  all endpoints of a ledger, by one process at a time
"""
