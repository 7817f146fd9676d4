#!/usr/bin/env bash
# Register an expert with curl:  CONSILIUM_ADMIN_KEY=... ./register_expert.sh chess http://127.0.0.1:9000/v1
set -euo pipefail
name=$1 url=$2
gateway=${CONSILIUM_URL:-http://127.0.0.1:8400}
admin=(--silent --show-error --fail-with-body --header "authorization: Bearer ${CONSILIUM_ADMIN_KEY:?}")

record='{"name": "'$name'", "replicas": [{"base_url": "'$url'"}],
         "examples": ["Which opening is the Sicilian?", "How does the knight move?"]}'

curl "${admin[@]}" "$gateway/admin/experts?dry_run=true" --json "$record" >/dev/null
curl "${admin[@]}" "$gateway/admin/experts" --json "$record" >/dev/null
curl --silent --show-error --fail-with-body --header "authorization: Bearer ${CONSILIUM_API_KEY:-unused}" \
  "$gateway/v1/chat/completions" --json '{"messages": [{"role": "user", "content": "How does the knight move?"}]}'
echo
echo "take it out again: curl -X DELETE -H \"authorization: Bearer \$CONSILIUM_ADMIN_KEY\" $gateway/admin/experts/$name"
