#!/usr/bin/env bash
# Installs what the peers of `make bench` need from the system: PostgreSQL and
# Redis. The others are built from their Go modules. Where nothing may be
# installed, it says what is missing, and the benchmark leaves those rows out by
# name.
set -euo pipefail

has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }
has_redis() { command -v redis-server >/dev/null; }

wanted=()
has_postgres || wanted+=(postgresql)
has_redis || wanted+=(redis-server)
if [ ${#wanted[@]} = 0 ]; then
	exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	# RUNLEVEL=1: their services are not started. The benchmark starts servers of
	# its own, on data of its own.
	export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
	apt-get install -y --no-install-recommends "${wanted[@]}" ||
		{ apt-get update && apt-get install -y --no-install-recommends "${wanted[@]}"; } || true
fi
has_postgres || echo 'postgresql is missing: River is not measured'
has_redis || echo 'redis-server is missing: Asynq is not measured'
