//! Addresses that stand for others: what can be written, in which order an address is looked up, and what becomes of mail
//! that goes on to another server.
//!
//! `facteur alias show ADDRESS` prints the way of an address, `facteur alias list` all aliases, and `facteur check` says
//! what is wrong with them.
//!
//! # What can be written
//!
//! ```toml
//! [aliases]
//! "info@example.com" = "alice@example.com"
//! # A group; a name without a domain is one of the alias's own domain. Groups may have groups.
//! "team@example.com" = ["alice", "bob", "carol@elsewhere.example"]
//! # A list in a file: one address a line or with commas, # begins a comment. It may name other files, three deep.
//! "all@example.com" = [":include:/etc/facteur/all"]
//! # With all that an alias can have. Switched off it is nobody, and no catch-all gets its mail.
//! "sales@example.com" = { to = ["bob"], enabled = false, comment = "until June" }
//! # Every address of a domain that nothing else knows, but for some.
//! "@example.com" = { to = ["alice"], except = ["spam@example.com"] }
//!
//! # All addresses of another domain, too.
//! [[domain]]
//! name = "example.org"
//! alias_of = "example.com"
//!
//! # A pattern fits whole addresses, without regard to case.
//! [[alias_pattern]]
//! pattern = '^sales-(.*)@example\.com$'
//! to = ["$1@example.com"]
//!
//! # The file of Postfix or sendmail as it is.
//! [directory]
//! aliases_file = "/etc/aliases"
//! ```
//!
//! # The order
//!
//! 1. The address as it is: `[aliases]`, then the aliases file, then the accounts.
//! 2. The same without its tag (`user+tag@`).
//! 3. The patterns, in the order of the file.
//! 4. The catch-all of the domain.
//! 5. `postmaster` of any domain is the first account, where nothing above has it.
//!
//! Each step looks in the domain itself, then in the one it is an alias of. The addresses of the host name are those of
//! the first domain.
//!
//! An alias that leads back to itself is an error of the configuration. Where that shows only when mail comes, or where
//! an address leads to more than a thousand, or through more than ten aliases, or to a list that has never been read,
//! the sender is told to come again (`451`), and the log says why: mail for a part of a list is worse than mail later.
//!
//! # The aliases file
//!
//! Names of the file are for the host name and the first domain. As with Postfix they come before the accounts:
//! `alice: \alice, bob` keeps a copy for alice. Commands (`|command`), files (`/file`) and words such as `:fail:` are not
//! supported: nothing is ever run, and such an entry is left out with a warning that names its line. The file and the
//! lists are looked at every few seconds. New content with a line of which nobody can tell what was meant changes
//! nothing; the old stays in force, and the log names the line.
//!
//! # Mail that goes on
//!
//! A recipient elsewhere gets the message under a sender of our first domain (SRS), because SPF of the first sender's
//! domain does not know our addresses. A notice to that sender comes back here and goes on to the first one, for 21 days;
//! where the sender was rewritten by another server before us, that server decides how long.
//! Senders of our own domains and the null sender stay what they are, and so does a sender that would become longer than
//! a local part may be. `srs = false` in `[directory]` switches this off; then `keys/srs.key` is of no use either.
