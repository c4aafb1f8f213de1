"""imapclient: a day with a second program at work on the same mailboxes; see tests/interop/conversation.rs."""
import imapclient

from session import HOST, LARGE, PASSWORD, port, step, tls, user, wait_for

FLAGGED, ANSWERED, SEEN = imapclient.FLAGGED, imapclient.ANSWERED, imapclient.SEEN

# STARTTLS, and the way to a login.
with imapclient.IMAPClient(HOST, port("IMAP"), ssl=False) as imap:
    imap.starttls(tls())
    imap.login(user("alice"), PASSWORD)
    assert imap.folder_exists("INBOX")

imap = imapclient.IMAPClient(HOST, port("IMAPS"), ssl_context=tls())
imap.login(user("alice"), PASSWORD)
names = {name: flags for flags, _, name in imap.list_folders()}
assert {"INBOX", "Sent", "Archive", "Trash"} <= names.keys(), names
assert imap.find_special_folder(rb"\Sent") == "Sent" and imap.find_special_folder(rb"\Trash") == "Trash"
imap.create_folder("Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n")
assert "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n" in {name for _, _, name in imap.list_folders()}

imap.select_folder("INBOX")
imap.append("INBOX", b"Subject: from the client\r\n\r\nits text\r\n", flags=[SEEN])
step("appended")

OTHER = ["SUBJECT", "from the other side"]
found = wait_for("the message of the other side", lambda: imap.noop() and imap.search(OTHER))
data = imap.fetch(found, ["BODY.PEEK[]", "FLAGS", "ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE"])[found[0]]
assert data[b"BODY[]"] == LARGE, data
assert data[b"ENVELOPE"].subject == b"from the other side" and not data[b"BODYSTRUCTURE"].is_multipart, data
imap.add_flags(found, [FLAGGED, b"$Label1"])
step("flagged")

wait_for("the flags of the other side", lambda: imap.noop() and set(imap.get_flags(found)[found[0]]) >= {ANSWERED})
assert FLAGGED not in imap.get_flags(found)[found[0]], imap.get_flags(found)
assert imap.has_capability("MOVE")
imap.move(found, "Archive")
assert not imap.search(OTHER)
step("moved")

imap.idle()
step("idling")
told = []
wait_for("EXISTS while idle", lambda: told.extend(imap.idle_check(timeout=5)) or (3, b"EXISTS") in told)
imap.idle_done()
assert len(imap.search(["SUBJECT", "while idle"])) == 1
step("told")

imap.select_folder("Trash")
assert len(imap.search(OTHER)) == 1
assert imap.folder_status("Archive", ["MESSAGES"])[b"MESSAGES"] == 0
imap.logout()
step("done")
