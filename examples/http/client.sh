#!/usr/bin/env bash
# A shell client: a job gets a session, works with it, and gives it back.
#
#   SERVICE=http://127.0.0.1:8420 KEY_HEADER=ledger/admin.key examples/http/client.sh
#
# KEY_HEADER is a file with the header `Authorization: Bearer KEY`. No token stands in an argument,
# where every user of the machine could read it in the process list.
set -euo pipefail
umask 077

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

ask() { curl -sS --fail-with-body "$@"; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# Begin a session. With an Idempotency-Key it is safe to send this again after a broken connection.
ask -H @"$KEY_HEADER" -H "Idempotency-Key: nightly-$$" \
    --json '{"principal": "nightly-job", "ttl": 600, "attributes": {"scope": "report"}}' \
    "$SERVICE/v1/sessions" > "$folder/session.json"
printf 'Authorization: Bearer %s\n' "$(field token < "$folder/session.json")" > "$folder/bearer"
echo "begun for $(field principal < "$folder/session.json")"

# Work with it.
ask -H @"$folder/bearer" "$SERVICE/v1/session" | field state

# Log out; then it is refused.
ask -H @"$folder/bearer" -X DELETE "$SERVICE/v1/session"
curl -sS -o "$folder/problem.json" -w '%{http_code}\n' -H @"$folder/bearer" "$SERVICE/v1/session"
field code < "$folder/problem.json"
