"""Python's poplib: the inbox by TLS and by STLS, deleting at the end, UIDLs that last."""
import poplib
import smtplib

from session import HOST, PASSWORD, port, tls, user


def login(kind):
    if kind == "STLS":
        pop = poplib.POP3(HOST, port("POP3"))
        assert "STLS" in pop.capa(), pop.capa()
        pop.stls(context=tls())
    else:
        pop = poplib.POP3_SSL(HOST, port("POP3S"), context=tls())
    for word in ("TOP", "UIDL", "USER"):
        assert word in pop.capa(), pop.capa()
    pop.user(user("bob"))
    pop.pass_(PASSWORD)
    return pop


body = b"line one\r\n.dot\r\n..two\r\n\r\nend"
with smtplib.SMTP(HOST, port("SMTP")) as smtp:
    for n in range(4):
        smtp.sendmail("s@load.example", user("bob"), f"Subject: poplib {n}\r\n\r\n".encode() + body)

pop = login("TLS")
count, octets = pop.stat()
sizes = [int(line.split()[1]) for line in pop.list()[1]]
assert len(sizes) == count and sum(sizes) == octets, (count, octets, sizes)
uidls = [line.split()[1] for line in pop.uidl()[1]]
assert len(set(uidls)) == count
first = count - 3
for number in range(first, count + 1):
    _, lines, size = pop.retr(number)
    assert size == sizes[number - 1]
    assert lines[-5:] == body.split(b"\r\n"), lines
_, top, _ = pop.top(count, 1)
assert top[-1] == b"line one" and b"Subject: poplib 3" in top, top
pop.dele(first)
pop.rset()
pop.quit()

# RSET took the mark back; this one is real.
pop = login("STLS")
assert [line.split()[1] for line in pop.uidl()[1]] == uidls
pop.dele(first)
try:
    pop.retr(first)
except poplib.error_proto:
    pass
else:
    raise AssertionError("a deleted message was shown")
pop.quit()

# Who hangs up without QUIT has deleted nothing.
pop = login("TLS")
assert [line.split()[1] for line in pop.uidl()[1]] == uidls[: first - 1] + uidls[first:]
pop.dele(1)
pop.close()
pop = login("TLS")
assert pop.stat()[0] == count - 1
pop.quit()

# A wrong password.
pop = poplib.POP3_SSL(HOST, port("POP3S"), context=tls())
pop.user(user("bob"))
try:
    pop.pass_("wrong")
except poplib.error_proto as error:
    assert b"[AUTH]" in error.args[0], error
else:
    raise AssertionError("a wrong password was taken")
