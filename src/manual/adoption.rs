//! A tree of mail that comes from Dovecot, and the way back.
