"""Python's imaplib: what a mail program does in a day."""
import calendar
import email
import imaplib
import re
import smtplib
import time

from session import HOST, PASSWORD, port, tls, user


def good(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def login(name):
    imap = imaplib.IMAP4_SSL(HOST, port("IMAPS"), ssl_context=tls())
    good(imap.login(user(name), PASSWORD))
    return imap


def subjects(imap):
    found = []
    for item in good(imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")):
        if isinstance(item, tuple):
            found.append(email.message_from_bytes(item[1])["Subject"])
    return found


def flags(imap, number):
    return imaplib.ParseFlags(good(imap.fetch(str(number), "(FLAGS)"))[0])


# STARTTLS, and no login before it.
imap = imaplib.IMAP4(HOST, port("IMAP"))
assert "LOGINDISABLED" in imap.capabilities, imap.capabilities
try:
    imap.login(user("alice"), PASSWORD)
except imaplib.IMAP4.error:
    pass
else:
    raise AssertionError("a login in clear")
good(imap.starttls(tls()))
good(imap.login(user("alice"), PASSWORD))
imap.logout()

# AUTHENTICATE PLAIN.
imap = imaplib.IMAP4_SSL(HOST, port("IMAPS"), ssl_context=tls())
good(imap.authenticate("PLAIN", lambda _: f"\0{user('alice')}\0{PASSWORD}".encode()))
imap.logout()

imap = login("alice")
for word in ("IMAP4rev1", "IDLE", "NAMESPACE", "UIDPLUS", "MOVE", "SPECIAL-USE"):
    # imaplib asks only once, before the login.
    assert word in good(imap.capability())[0].decode().split(), (word, imap.capability())
good(imap.namespace())

# Folders.
good(imap.create("Projekte/Gr&APYA3w-e"))
good(imap.create("Work"))
good(imap.create("Work/2026"))
good(imap.subscribe("Work"))
listed = b"\n".join(good(imap.list()))
for name in (b"Work", b"Work/2026", b"Sent", b"Trash"):
    assert name in listed, listed
assert b"\\Sent" in listed and b"\\Trash" in listed, listed
assert b"Work" in b"\n".join(good(imap.lsub()))
good(imap.rename("Work/2026", "Work/2027"))
assert b"Work/2026" not in b"\n".join(good(imap.list('""', '"Work/*"')))

# Append with flags and date; the text comes back as it was.
text = "From: a@x.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <one@x.example>\r\n\r\nbody one\r\n".encode()
date = '"01-Feb-2026 03:04:05 +0100"'
appended = good(imap.append("Work", r"(\Seen \Flagged $Label1)", date, text))
assert b"APPENDUID" in appended[0], appended
for n in range(2, 7):
    good(imap.append("Work", None, None, f"Subject: number {n}\r\nTo: b@y.example\r\n\r\nneedle{n}\r\n".encode()))
good(imap.select("Work"))
item = good(imap.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"))[0]
assert item[1] == text, item
head = b"".join(part[0] if isinstance(part, tuple) else part for part in good(imap.fetch("1", "(UID INTERNALDATE RFC822.SIZE)"))).decode()
assert re.search(r"UID \d+", head) and f"RFC822.SIZE {len(text)}" in head, head
seconds = time.mktime(imaplib.Internaldate2tuple(head.encode()))
assert seconds == calendar.timegm((2026, 2, 1, 2, 4, 5)), head
assert set(flags(imap, 1)) >= {rb"\Seen", rb"\Flagged", b"$Label1"}, flags(imap, 1)
assert good(imap.fetch("1", "(BODY.PEEK[TEXT]<0.4>)"))[0][1] == b"body"
assert good(imap.fetch("1", "(BODY.PEEK[HEADER.FIELDS (message-id)])"))[0][1] == b"Message-ID: <one@x.example>\r\n\r\n"

# Flags.
good(imap.store("2", "+FLAGS", r"(\Answered)"))
good(imap.store("2:3", "+FLAGS", r"(\Deleted)"))
good(imap.store("3", "-FLAGS", r"(\Deleted)"))
good(imap.store("4", "FLAGS.SILENT", r"(\Draft)"))
assert rb"\Deleted" in flags(imap, 2) and rb"\Deleted" not in flags(imap, 3) and rb"\Draft" in flags(imap, 4)
good(imap.fetch("5", "(BODY[])"))
assert rb"\Seen" in flags(imap, 5), "a body that was read is seen"

# Search.
for criteria, numbers in (
    (("SUBJECT", '"number 4"'), b"4"),
    (("BODY", "needle5"), b"5"),
    (("FLAGGED",), b"1"),
    (("KEYWORD", "$Label1"), b"1"),
    (("NOT", "SEEN", "TO", "y.example"), b"2 3 4 6"),
    (("OR", "SUBJECT", '"number 2"', "SUBJECT", '"number 3"'), b"2 3"),
    (("BEFORE", "2-Feb-2026"), b"1"),
    (("UID", "1:3"), b"1 2 3"),
):
    assert good(imap.search(None, *criteria)) == [numbers], (criteria, imap.search(None, *criteria))
imap.literal = "Grüße".encode()
assert good(imap.search("UTF-8", "SUBJECT")) == [b"1"]

# Copy, move, expunge.
good(imap.copy("1,4", "Archive"))
good(imap.uid("MOVE", "5", "Trash"))
good(imap.expunge())
assert subjects(imap) == ["=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "number 3", "number 4", "number 6"], subjects(imap)
assert good(imap.select("Trash")) == [b"1"] and subjects(imap) == ["number 5"]
assert good(imap.select("Archive")) == [b"2"] and set(flags(imap, 1)) >= {rb"\Flagged", b"$Label1"}
status = good(imap.status("Work", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))[0]
assert b"MESSAGES 4" in status and b"UIDNEXT 7" in status, status
good(imap.close())
good(imap.delete("Work/2027"))

# IDLE: mail arrives while we wait. imaplib has no command for it before Python 3.14.
good(imap.select("INBOX"))
before = int(good(imap.select("INBOX"))[0])
imap.send(b"x1 IDLE\r\n")
assert imap.readline().startswith(b"+")
with smtplib.SMTP(HOST, port("SMTP")) as smtp:
    smtp.sendmail("s@load.example", user("alice"), "Subject: while idle\r\n\r\nx")
began = time.monotonic()
while True:
    line = imap.readline()
    if line.strip() == b"* %d EXISTS" % (before + 1):
        break
    assert line.startswith(b"*"), line
assert time.monotonic() - began < 2, "IDLE is told at once"
imap.send(b"DONE\r\n")
while not imap.readline().startswith(b"x1 OK"):
    pass

# Two sessions on one mailbox see each other.
other = login("alice")
good(other.select("INBOX"))
good(other.store("1", "+FLAGS", r"(\Flagged)"))
imap.untagged_responses.clear()
good(imap.noop())
assert any(rb"\Flagged" in line for line in imap.response("FETCH")[1]), "the change is told at NOOP"
other.logout()

# A read-only look changes nothing.
good(imap.select("Archive", readonly=True))
good(imap.fetch("2", "(BODY[])"))
try:
    assert imap.store("2", "+FLAGS", r"(\Seen)")[0] == "NO"
except imaplib.IMAP4.readonly:
    pass
assert rb"\Seen" not in flags(imap, 2)
imap.logout()
