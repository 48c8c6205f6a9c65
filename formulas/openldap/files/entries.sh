#!/bin/sh
# Add those entries of the LDIF file $1 that are missing, and tell Salt (stateful) whether there were any.
set -u
[ -s "$1" ] || { echo; echo "changed=no comment='no entries'"; exit 0; }
told=$(ldapadd -c -Q -Y EXTERNAL -H ldapi:/// -f "$1" 2>&1)
tried=$(printf '%s\n' "$told" | grep -c '^adding new entry')
there=$(printf '%s\n' "$told" | grep -c '^ldap_add: Already exists (68)')
wrong=$(printf '%s\n' "$told" | grep '^ldap_\|^ldapadd:' | grep -v 'Already exists (68)')
echo
if [ -n "$wrong" ]; then
    printf '%s\n' "$told" >&2
    exit 1
elif [ "$tried" -gt "$there" ]; then
    echo "changed=yes comment='$((tried - there)) entries were added'"
else
    echo "changed=no comment='all entries are there'"
fi
