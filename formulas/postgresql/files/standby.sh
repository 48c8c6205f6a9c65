#!/bin/sh
# Make the cluster in $1 (service $2) a standby of the primary that the environment names, with its slot when there is one.
# The copy is complete before the old data are moved aside, and they are not removed.
set -eu
data=$1 service=$2
export PGHOST="$host" PGPORT="$port" PGUSER="$user" PGPASSWORD="$password"
new=$data.new
rm -rf "$new"
runuser -u postgres --preserve-environment -- pg_basebackup -D "$new" -R -X stream ${slot:+-S "$slot"}
runuser -u postgres -- touch "$new/salt-standby"
service "$service" stop || true
if [ -e "$data" ]; then
    mv "$data" "$data.before-standby.$(date +%s)"
fi
mv "$new" "$data"
service "$service" start
