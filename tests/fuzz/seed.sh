#!/bin/sh
# The first inputs of each target: what the clients say in the dialogs, whole and line by line.
set -eu
cd "$(dirname "$0")"
dialogs=../dialogs/imap
targets="imap_command imap_fragments utf7 structure auth_records auth_header session_stranger session_user session_selected session_idle session_append"
targets="$targets smtp_line smtp_session smtp_unstuff smtp_bdat proxy_header milter_packets header_fields alias_file spf_zone"
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

# SMTP: what clients say, as `reception`, `submission` and LMTP. The first octets say what smtp_session.rs has of them.
for dialog in ../dialogs/smtp/*.txt ../dialogs/submission/*.txt; do
    folder=$(basename "$(dirname "$dialog")")
    name=$folder-$(basename "$dialog" .txt)
    said=$(grep '^C: ' "$dialog" | sed -e 's/^C: //' -e 's/<<lf>>/\n/g' -e "s/<<cr>>/$crlf/g" -e 's/<<user>>/user1/g' \
        -e 's/<<[a-z0-9]*>>/1/g' -e "s/\$/$crlf/") || continue
    printf '%s\n' "$said" >"corpus/smtp_line/$name"
    printf '1%s\n' "$said" >"corpus/smtp_unstuff/$name"
    if [ "$folder" = smtp ]; then flags='0@'; else flags='456'; fi
    for flag in $(printf '%s' "$flags" | sed 's/./& /g'); do
        printf '%s7~~~~~~%s\n' "$flag" "$said" >"corpus/smtp_session/$name-$flag"
    done
    printf '27~~~~~~%s\n' "$said" | sed 's/EHLO/LHLO/' >"corpus/smtp_session/$name-lmtp"
done
printf '%s\r\n' 'MAIL FROM:<"a b"@[192.0.2.1]> SIZE=10 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+2Bb' \
    'RCPT TO:<@r.example:c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2B@d.example' 'RCPT TO:<postmaster> NOTIFY=NEVER' \
    'BDAT 10 LAST' 'AUTH PLAIN AGEAYg==' '250-5.1.1 no' '550 5.1.1 no' >corpus/smtp_line/own
printf '3a\r\n..b\r\n.\r\r\n\n.\n.\r.\r\n.\r\nQUIT\r\n' >corpus/smtp_unstuff/own
# Each octet a command, with the length of what belongs to it: MAIL, a chunk, RSET, DATA, the last chunk.
printf '\0\3\0\2\5a\r\n.\r\0\5\3b\r\n\10\0\7\6a\r\n.b\n\1\2\0\7\1x' >corpus/smtp_bdat/own
printf '\1\2\0\2\4a\nb\r\5\2\nc\0\2\377%0255d\2\377%0255d\211' 1 2 >corpus/smtp_bdat/large
printf 'PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\nEHLO c\r\n' >corpus/proxy_header/tcp4
printf 'PROXY TCP6 2001:db8::1 ::2 1 25\r\n' >corpus/proxy_header/tcp6
printf 'PROXY UNKNOWN whatever\r\n' >corpus/proxy_header/unknown
printf '\r\n\r\n\0\r\nQUIT\n\41\21\0\14\300\0\2\1\306\63\144\2\60\71\0\31EHLO' >corpus/proxy_header/v2
printf '\r\n\r\n\0\r\nQUIT\n\41\41\0\4412345678901234567890123456789012\1\2\0\31' >corpus/proxy_header/v2-tcp6
# A message of 24 octets, seven times "go on", then changes.
printf '\0\0\0\0\14A: 1\nB: 2\n c\na: 3\n\nbody\nc\0c\0c\0c\0c\0c\0c\0c\0c\0c\0c\0h\4X\0y\0i\10\0\0\0\1Z\0w\0m\7\0\0\0\1a\0\0q\2x\0b\5new\r\na\0' \
    >corpus/milter_packets/changes
printf '\1\377\377\17\4A: 1\n\nx\nh\6X\0a\nb\0y\17550 5.7.1 no\r\nx\0' >corpus/milter_packets/reply
printf '\300\0\0\0\2A: 1\0\0\0\15O\0\0\0\6\0\0\0\23\0\0\0\0\0\0\0\1c\0\0\0\1r' >corpus/milter_packets/octets
cp corpus/auth_header/message corpus/header_fields/auth
printf '%s\n' 'From x@y Thu Jan  1 00:00:00 1970' 'Received: a' ' b' 'Bcc: "x, y" <z@b.example>, (c) g: a@b.example;' \
    'Return-Path: <a@b.example>' 'Authentication-Results: mx.example; spf=pass' 'Date: Sat, 21 Nov 2026 23:59:00 -0800 (PST)' \
    'X-Junk-Reason : x' '' body >corpus/header_fields/message
printf '%s\n' '"a b"@xn--bcher-kva.example' 'a@[IPv6:::1]' 'bücher@bücher.example' 'xn--bcher-kva.example' >corpus/header_fields/addresses
printf '%s\n' '# comment' 'Postmaster: root' 'root: alice,' '  bob@b.example, "a b"' '"odd, name": \alice' \
    'list: :include:/etc/list, Carol <c@d.example>' 'prog: "|/bin/x, y"' 'null: /dev/null' >corpus/alias_file/aliases
printf '%s\n' 'P^x-(.*)@example\.com$' '$1@example.com a@example.com' 'x-a@example.com' 'X-"b c"@mx.example.com' >corpus/alias_file/pattern
printf '%s\n' 'P^(?P<u>[a-z]+)=(?P<d>.+)@example\.com$' '${u}@$d ${u}@far.example' 'a=b.example@example.com' >corpus/alias_file/named
printf '%s\n' '192.0.2.1 a@b.example c.example' 'T b.example v=spf1 a mx:m.example/24 ptr include:i.example exists:%{ir}.%{p}.x.example redirect=r.example' \
    'T i.example v=spf1 -all exp=e.example' 'T r.example v=spf1 -all exp=e.example' 'T e.example no %{i} %{p} %{h}' 'A b.example 192.0.2.9' \
    'M m.example 10 h.example' 'A h.example 198.51.100.1' 'P p.example' 'A p.example 192.0.2.1' >corpus/spf_zone/all
printf '%s\n' '2001:db8::1 a@b.example c' 'T * v=spf1 include:a.%{d} ?all' 'A * 2001:db8::1' 'X x.example' >corpus/spf_zone/loop
