"""The settings of `serve`, as its help tells them."""

from __future__ import annotations

VARIABLES = {"ledger": "SESSIONLEDGER_URL"}

OF_POLICY = (
    "ttl",
    "idle_timeout",
    "absolute_timeout",
    "touch_interval",
    "rotation_grace",
    "on_reuse",
    "max_sessions_per_principal",
    "on_limit",
)

HELP = {
    "ledger": "The ledger: URL or path.",
    "topic": "The topic of its sessions.",
    "durability": "full or normal.",
    "host": "The address to listen on.",
    "port": "The port to listen on; 0 for any.",
    "workers": "How many processes serve.",
    "realm": "What challenges call the service.",
    "cookie": "The cookie that /auth reads.",
    "audience": "The aud that introspection answers.",
    "max_body_bytes": "The largest body.",
    "max_header_bytes": "The largest path and headers together.",
    "max_streams": "Streams of events at a time, in each worker.",
    "writes_per_minute": "Writes to one session, in each worker.",
    "request_timeout": "How long a request may take to arrive, and to be answered.",
    "keep_alive": "How long an idle connection stays.",
    "stop_timeout": "How long what is under way may take when told to stop.",
    "heartbeat": "How often a quiet stream says that it is there.",
    "stream_lifetime": "How long a stream of events lasts, until its client has to come back.",
    "sweep_interval": "How often what lapsed is recorded as ended.",
    "webhooks": "The file of webhook endpoints; beside the ledger if not said.",
    "access_log": "A line of JSON on stderr for each request.",
    "ttl": "How long a session lives that does not say so.",
    "idle_timeout": "How long a session may go unseen.",
    "absolute_timeout": "How long a session may live at most.",
    "touch_interval": "How often being seen is recorded.",
    "rotation_grace": "How long a replaced token is still good.",
    "on_reuse": "What a replaced token does afterwards: revoke or deny.",
    "max_sessions_per_principal": "Live sessions of one principal.",
    "on_limit": "What one more does: deny or evict_oldest.",
}
