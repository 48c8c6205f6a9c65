#!/bin/sh
# Take a read-only snapshot of the subvolume $2 of the file system $1 into its folder $3, under the schedule $4; then
# delete those of the same schedule and subvolume but the newest $5.
set -eu
root=$1 subvolume=$2 folder=$1/$3 schedule=$4 keep=$5
name=$(printf %s "$subvolume" | tr / _)@$schedule
mkdir -p "$folder"
btrfs subvolume snapshot -r "$root/$subvolume" "$folder/$name@$(date -u +%Y%m%dT%H%M%S.%N)"
ls -d "$folder/$name"@* | sort -r | tail -n "+$((keep + 1))" | while read -r old; do
    btrfs subvolume delete "$old"
done
