"""Python's smtplib: mail from another server on 25, from users on 587 and 465, and what must be refused."""
import smtplib
from email.message import EmailMessage

from session import HOST, PASSWORD, port, tls, user


def letter(subject, body="Grüße\n.\n..dots\nthe end\n"):
    message = EmailMessage()
    message["From"] = user("alice")
    message["To"] = user("bob")
    message["Subject"] = subject
    message.set_content(body, cte="8bit")
    return message


def refused(code, call, *args):
    try:
        call(*args)
    except smtplib.SMTPResponseException as error:
        assert error.smtp_code == code, error
    except smtplib.SMTPRecipientsRefused as error:
        codes = [c for c, _ in error.recipients.values()]
        assert codes == [code], error
    else:
        raise AssertionError(f"{call.__name__}{args} was not refused")


# Another server, without TLS and then with it.
with smtplib.SMTP(HOST, port("SMTP")) as smtp:
    smtp.ehlo("other.load.example")
    for extension in ("pipelining", "size", "8bitmime", "enhancedstatuscodes", "starttls"):
        assert smtp.has_extn(extension), (extension, smtp.esmtp_features)
    assert not smtp.has_extn("auth")
    smtp.send_message(letter("smtplib 25"), "s@load.example", user("bob"))
    refused(550, smtp.sendmail, "s@load.example", user("nobody"), "Subject: x\r\n\r\nx")
    refused(554, smtp.sendmail, "s@load.example", "v@elsewhere.example", "Subject: x\r\n\r\nx")
    # One good and one bad recipient: the good one gets it.
    bad = smtp.sendmail("s@load.example", [user("bob"), user("nobody")], "Subject: smtplib half\r\n\r\nx")
    assert list(bad) == [user("nobody")], bad
    smtp.starttls(context=tls())
    smtp.ehlo("other.load.example")
    assert not smtp.has_extn("starttls") and not smtp.has_extn("auth")
    smtp.send_message(letter("smtplib 25 TLS"), "s@load.example", user("bob"))
    smtp.sendmail("", user("bob"), "Subject: smtplib null sender\r\n\r\nx")

# A user, by STARTTLS.
with smtplib.SMTP(HOST, port("SUBM")) as smtp:
    smtp.ehlo()
    assert not smtp.has_extn("auth"), "no login in clear"
    code, text = smtp.mail(user("alice"))
    assert code == 530, (code, text)
    smtp.starttls(context=tls())
    smtp.ehlo()
    assert "PLAIN" in smtp.esmtp_features["auth"].split()
    refused(535, smtp.login, user("alice"), "wrong")

with smtplib.SMTP(HOST, port("SUBM")) as smtp:
    smtp.starttls(context=tls())
    smtp.login(user("alice"), PASSWORD)
    smtp.send_message(letter("smtplib 587"))
    code, text = smtp.mail(user("bob"))
    assert code == 553, (code, text)

# A user, TLS from the first byte, both mechanisms.
for mechanism in ("auth_plain", "auth_login"):
    with smtplib.SMTP_SSL(HOST, port("SMTPS"), context=tls()) as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = user("alice"), PASSWORD
        name = mechanism.removeprefix("auth_").upper()
        if name in smtp.esmtp_features["auth"].split():
            smtp.auth(name, getattr(smtp, mechanism))
            smtp.send_message(letter(f"smtplib 465 {name}"))

# Many in one session, and one of a few megabytes.
with smtplib.SMTP_SSL(HOST, port("SMTPS"), context=tls()) as smtp:
    smtp.login(user("alice"), PASSWORD)
    for n in range(10):
        smtp.send_message(letter(f"smtplib many {n}"))
    smtp.send_message(letter("smtplib large", ("x" * 70 + "\n") * 50_000))
