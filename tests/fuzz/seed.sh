#!/bin/sh
# The first inputs of each target: what the clients say in the dialogs, whole and line by line.
set -eu
cd "$(dirname "$0")"
dialogs=../dialogs/imap
targets="imap_command imap_fragments utf7 structure auth_records auth_header session_stranger session_user session_selected session_idle session_append"
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
printf 'v=spf1 a/24//64 mx:%%{d2}.example -exists:%%{ir}.%%{v}.%%{l1r-+}.x.example ip6:::1/0 redirect=_s.%%{o} exp=e.example' >corpus/auth_records/spf
printf 'v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; t=y; psd=n; rua=mailto:a@b.example' >corpus/auth_records/dmarc
printf 'v=DKIM1; k=ed25519; h=sha256; s=email:*; t=s; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=' >corpus/auth_records/key
printf '%s\n' 'From: "a" <u@b.example>, g: c@d.example;' 'Date: Thu, 1 Jan 1970 00:00:00 +0000' \
    'DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=b.example; s=s; i=@b.example; h=from : to; bh=AAAA; b=AAAA' \
    'ARC-Seal: i=1; a=rsa-sha256; d=b.example; s=s; cv=none; b=AAAA' \
    'ARC-Message-Signature: i=1; a=rsa-sha256; d=b.example; s=s; h=from; bh=AAAA; b=AAAA' \
    'ARC-Authentication-Results: i=1; mx.example; dmarc=pass header.from=b.example' \
    'Authentication-Results: (a) "mx.example" 1; spf=pass smtp.mailfrom="u@b.example"' '' body >corpus/auth_header/message
