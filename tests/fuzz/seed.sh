#!/bin/sh
# The first inputs of each target: what the clients say in the dialogs, whole and line by line.
set -eu
cd "$(dirname "$0")"
dialogs=../dialogs/imap
targets="imap_command imap_fragments utf7 structure session_stranger session_user session_selected session_idle session_append"
for target in $targets; do
    mkdir -p "corpus/$target"
done
crlf=$(printf '\r')
for dialog in "$dialogs"/*.txt; do
    name=$(basename "$dialog" .txt)
    # What the dialogs fill in is filled in here too; a tag per line is in them already.
    said=$(grep '^C: ' "$dialog" | sed -e 's/^C: //' -e 's/<<user>>/user1/g' -e 's/<<[a-z0-9]*>>/1/g' -e "s/\$/$crlf/") || continue
    for target in imap_fragments session_stranger session_user session_selected session_idle session_append structure; do
        printf '%s\n' "$said" >"corpus/$target/$name"
    done
    printf '%s\n' "$said" | tr -d '\r' | awk -v to="corpus/imap_command/$name" 'NF > 1 { printf "%s", $0 > (to "-" NR); close(to "-" NR) }'
done
printf 'Entw&APw-rfe' >corpus/utf7/decoded
printf '~peter/mail/&U,BTFw-/&ZeVnLIqe-' >corpus/utf7/nested
printf '&2D3eAA- &-' >corpus/utf7/surrogates
