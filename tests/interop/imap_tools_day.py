"""imap-tools: a day with a second program at work on the same mailboxes; see tests/interop/conversation.rs."""
from imap_tools import AND, MailBox, MailBoxStartTls, MailMessageFlags

from session import HOST, LARGE, PASSWORD, port, step, tls, user, wait_for

OTHER = AND(subject="from the other side")

with MailBoxStartTls(HOST, port("IMAP"), ssl_context=tls()).login(user("alice"), PASSWORD) as box:
    assert box.folder.exists("INBOX")

with MailBox(HOST, port("IMAPS"), ssl_context=tls()).login(user("alice"), PASSWORD) as box:
    names = {folder.name for folder in box.folder.list()}
    assert {"INBOX", "Sent", "Archive", "Trash"} <= names, names
    box.folder.create("Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n")
    assert box.folder.exists("Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n")
    assert box.folder.status("INBOX")["MESSAGES"] == 1

    box.append(b"Subject: from the client\r\n\r\nits text\r\n", "INBOX", flag_set=[MailMessageFlags.SEEN])
    step("appended")

    found = wait_for("the message of the other side", lambda: list(box.fetch(OTHER, mark_seen=False)))
    assert [m.subject for m in found] == ["from the other side"], found
    assert found[0].text.encode() == LARGE.partition(b"\r\n\r\n")[2], found[0].text[:100]
    assert found[0].size_rfc822 == len(LARGE), found[0].size_rfc822
    box.flag(found[0].uid, [MailMessageFlags.FLAGGED, "$Label1"], True)
    step("flagged")

    def flags():
        return next(iter(box.fetch(OTHER, mark_seen=False, headers_only=True))).flags

    wait_for("the flags of the other side", lambda: MailMessageFlags.ANSWERED in flags())
    assert MailMessageFlags.FLAGGED not in flags(), flags()
    box.move(found[0].uid, "Archive")
    assert not list(box.uids(OTHER))
    step("moved")

    box.idle.start()
    step("idling")
    told = []
    wait_for("EXISTS while idle", lambda: told.extend(box.idle.poll(timeout=5)) or b"* 3 EXISTS" in told)
    box.idle.stop()
    assert len(box.uids(AND(subject="while idle"))) == 1
    step("told")

    box.folder.set("Trash")
    assert len(box.uids(OTHER)) == 1
    assert box.folder.status("Archive")["MESSAGES"] == 0
step("done")
