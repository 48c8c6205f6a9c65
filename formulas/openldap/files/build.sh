#!/bin/sh
# Build slapd's configuration of the LDIF file $4 for the user $2; $3 is "try", or the service to exchange it for.
# The folder $1 is exchanged by two renames after slapd has read the new one; the old one stays as $1.old.
set -eu
folder=$1 user=$2 service=$3 ldif=$4
new=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$new"' EXIT
slapadd -n 0 -F "$new" -l "$ldif"
slaptest -u -F "$new"
[ "$service" = try ] && exit 0
chown -R "$user:$user" "$new"
chmod 0750 "$new"
rm -rf "$folder.old"
service "$service" stop
if [ -e "$folder" ]; then mv "$folder" "$folder.old"; fi
mv "$new" "$folder"
service "$service" start
