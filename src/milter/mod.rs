//! Content hooks: asks a milter (rspamd, ClamAV, OpenDKIM and their like speak this protocol) what it thinks of a message.
//!
//! The whole conversation happens at the end of data, over a connection of its own: so a slow milter holds up one
//! message and no command, and one that dies takes nothing along. What it says of a recipient counts for the message.
//! Milters may change header and body and set a message apart; who sends and who receives stays with us, so we do not
//! offer to change that. Knows nothing of what becomes of the judgement.

mod change;
mod packet;

use std::fmt;
use std::io;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

pub use change::Changes;
pub use change::Field;
pub use change::HeaderChange;
#[cfg(fuzzing)]
pub use change::fuzz;
use packet::Said;
use packet::action;
use packet::step;

use crate::config::MilterAddress;
use crate::config::MilterEntry;
use crate::fsio::Content;
use crate::fsio::ContentReader;
use crate::fsio::ContentWriter;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::limits::HEADER_OCTETS;
use crate::mail::limits::MILTER_BODY_CHUNK;
use crate::mail::limits::MILTER_CHANGES;
use crate::mail::limits::MILTER_PACKET_OCTETS;
use crate::message::header;

/// What a milter is told about a message beside the message.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Our name.
    pub hostname: String,
    /// `ORIGINATING` for mail of our users, by which milters know what to sign.
    pub daemon: &'static str,
    /// The client's address.
    pub ip: IpAddr,
    /// Its confirmed name.
    pub client_name: Option<String>,
    /// What it called itself.
    pub helo: String,
    /// Version and cipher of TLS, where it was active.
    pub tls: Option<(String, String)>,
    /// Who logged in.
    pub user: Option<String>,
    /// The message's id.
    pub id: String,
    /// `MAIL FROM`.
    pub sender: ReversePath,
    /// `RCPT TO`.
    pub recipients: Vec<Address>,
    /// The largest body that it may give us instead, in octets.
    pub max_size: u64,
}

/// What a milter thinks.
#[derive(Debug)]
pub enum Judgement {
    /// The message may pass, changed so.
    Pass(Box<Changes>),
    /// It is refused: the three digits, and what follows them where the milter said so.
    Refuse(u16, Option<String>),
    /// It is to be thrown away, and the client to be told yes.
    Discard,
}

/// Why there is no judgement.
#[derive(Debug)]
pub enum Fault {
    /// It took too long.
    TimedOut,
    /// The connection failed.
    Io(io::Error),
    /// It spoke in a way that we do not understand.
    Nonsense(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no judgement in time"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Nonsense(what) => write!(f, "not understood: {what}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Asks one milter. Ends within its `timeout`. A body that it gives us may spill into `spool`.
///
/// # Errors
/// See [`Fault`]; what then becomes of the message the configuration says.
pub async fn ask(entry: &MilterEntry, subject: &Subject, content: &Content, spool: &Path) -> Result<Judgement, Fault> {
    let conversation = async {
        match &entry.address.value {
            MilterAddress::Unix(path) => converse(UnixStream::connect(path).await?, subject, content, spool).await,
            MilterAddress::Inet(address) => {
                let stream = TcpStream::connect(address.as_str()).await?;
                stream.set_nodelay(true)?;
                converse(stream, subject, content, spool).await
            }
        }
    };
    tokio::time::timeout(entry.timeout, conversation).await.unwrap_or(Err(Fault::TimedOut))
}

/// A conversation under way.
struct Talk<S> {
    stream: S,
    steps: u32,
    /// Packets that need not be answered one by one are sent together.
    out: Vec<u8>,
}

/// What a milter said that ends the questions.
enum Verdict {
    Judged(Judgement),
    GoOn,
    Skip,
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    subject: &Subject,
    content: &Content,
    spool: &Path,
) -> Result<Judgement, Fault> {
    let mut talk = Talk { stream, steps: 0, out: packet::offer() };
    talk.flush().await?;
    match talk.hear().await? {
        Said::Negotiated { version, actions, steps } => {
            if version < 2 || steps & !step::OURS != 0 {
                return Err(Fault::Nonsense("it wants another protocol"));
            }
            if actions & !action::OURS != 0 {
                tracing::debug!(actions, "a milter wants to do more than we carry out");
            }
            talk.steps = steps;
        }
        _ => return Err(Fault::Nonsense("no negotiation")),
    }
    let judged = match talk.envelope(subject).await? {
        Verdict::GoOn => talk.message(subject, content, spool).await?,
        Verdict::Judged(judgement) => judgement,
        Verdict::Skip => return Err(Fault::Nonsense("a skip before the body")),
    };
    // It is judged: whether the goodbye arrives does not matter.
    talk.out = packet::packet(b'Q', b"");
    talk.flush().await.ok();
    Ok(judged)
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Talk<S> {
    async fn flush(&mut self) -> Result<(), Fault> {
        self.stream.write_all(&self.out).await?;
        self.stream.flush().await?;
        self.out.clear();
        Ok(())
    }

    async fn hear(&mut self) -> Result<Said, Fault> {
        let length = self.stream.read_u32().await?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || length > MILTER_PACKET_OCTETS {
            return Err(Fault::Nonsense("a packet of no size or a huge one"));
        }
        let mut packet = vec![0; length];
        self.stream.read_exact(&mut packet).await?;
        packet::parse(&packet).ok_or(Fault::Nonsense("a broken packet"))
    }

    fn macros(&mut self, command: u8, values: &[(&str, Option<String>)]) {
        let mut data = vec![command];
        let there = values.iter().filter_map(|(name, value)| Some([(*name).to_owned(), value.clone()?]));
        data.extend(packet::texts(there.flatten()));
        self.out.extend(packet::packet(b'D', &data));
    }

    /// Says something, unless the milter does not want to hear it, and waits for the answer, unless it gives none.
    async fn say(&mut self, command: u8, data: &[u8], unwanted: u32, silent: u32) -> Result<Verdict, Fault> {
        if self.steps & unwanted != 0 {
            return Ok(Verdict::GoOn);
        }
        self.out.extend(packet::packet(command, data));
        if self.steps & silent != 0 {
            return Ok(Verdict::GoOn);
        }
        self.flush().await?;
        loop {
            return match self.hear().await? {
                Said::Continue => Ok(Verdict::GoOn),
                Said::Progress => continue,
                Said::Skip => Ok(Verdict::Skip),
                other => ending(other).map(Verdict::Judged),
            };
        }
    }

    async fn envelope(&mut self, subject: &Subject) -> Result<Verdict, Fault> {
        let own = |text: &str| Some(text.to_owned());
        let name = subject.client_name.clone().unwrap_or_else(|| format!("[{}]", subject.ip));
        self.macros(
            b'C',
            &[
                ("j", own(&subject.hostname)),
                ("{daemon_name}", own(subject.daemon)),
                ("_", Some(format!("{name} [{}]", subject.ip))),
                ("{client_addr}", Some(subject.ip.to_string())),
                ("{client_name}", Some(subject.client_name.clone().unwrap_or_else(|| "unknown".to_owned()))),
            ],
        );
        let (family, address) = match subject.ip {
            IpAddr::V4(v4) => (b'4', v4.to_string()),
            IpAddr::V6(v6) => (b'6', format!("IPv6:{v6}")),
        };
        let mut connect = packet::texts([&name]);
        // Nobody looks at the client's port; 0 says that it is not told.
        connect.extend_from_slice(&[family, 0, 0]);
        connect.extend(packet::texts([&address]));
        let (version, cipher) = subject.tls.clone().unzip();
        let sender = format!("<{}>", subject.sender);
        let host = subject.sender.address().map(|address| address.domain().to_string());
        let local = subject.sender.address().map(ToString::to_string);
        for (command, macros, data, unwanted, silent) in [
            (b'C', vec![], connect, step::NO_CONNECT, step::NO_REPLY_CONNECT),
            (
                b'H',
                vec![("{tls_version}", version), ("{cipher}", cipher)],
                packet::texts([&subject.helo]),
                step::NO_HELO,
                step::NO_REPLY_HELO,
            ),
            (
                b'M',
                vec![
                    ("i", own(&subject.id)),
                    ("{auth_type}", subject.user.as_ref().map(|_| "PLAIN".to_owned())),
                    ("{auth_authen}", subject.user.clone()),
                    ("{mail_addr}", local),
                    ("{mail_host}", host),
                ],
                packet::texts([&sender]),
                step::NO_MAIL,
                step::NO_REPLY_MAIL,
            ),
        ] {
            if !macros.is_empty() {
                self.macros(command, &macros);
            }
            match self.say(command, &data, unwanted, silent).await? {
                Verdict::GoOn => {}
                ended => return Ok(ended),
            }
        }
        for recipient in &subject.recipients {
            let (address, host) = (recipient.to_string(), recipient.domain().to_string());
            let macros = [("i", own(&subject.id)), ("{rcpt_addr}", own(&address)), ("{rcpt_host}", Some(host))];
            self.macros(b'R', &macros);
            let data = packet::texts([format!("<{address}>")]);
            match self.say(b'R', &data, step::NO_RCPT, step::NO_REPLY_RCPT).await? {
                Verdict::GoOn => {}
                ended => return Ok(ended),
            }
        }
        self.macros(b'T', &[("i", own(&subject.id))]);
        self.say(b'T', b"", step::NO_DATA, step::NO_REPLY_DATA).await
    }

    async fn message(&mut self, subject: &Subject, content: &Content, spool: &Path) -> Result<Judgement, Fault> {
        let head = content.head(HEADER_OCTETS + 1)?;
        let read = header::read(&head).map_err(|_| Fault::Nonsense("a header past the limits"))?;
        for field in &read.fields {
            // Folds are LF and white space; libmilter knows no CR here.
            let value: Vec<u8> = field.value.iter().copied().filter(|b| *b != b'\r').collect();
            let spaced = self.steps & step::LEADING_SPACE != 0;
            let value = if spaced { &value[..] } else { value.strip_prefix(b" ").unwrap_or(&value) };
            let data = packet::texts([field.name.as_bytes(), value]);
            if let Verdict::Judged(judgement) = self.say(b'L', &data, step::NO_HEADERS, step::NO_REPLY_HEADER).await? {
                return Ok(judgement);
            }
        }
        let end = self.say(b'N', b"", step::NO_END_OF_HEADERS, step::NO_REPLY_END_OF_HEADERS).await?;
        if let Verdict::Judged(judgement) = end {
            return Ok(judgement);
        }
        if self.steps & step::NO_BODY == 0
            && let Some(judgement) = self.body(content, read.body).await?
        {
            return Ok(judgement);
        }
        self.macros(b'E', &[("i", Some(subject.id.clone()))]);
        self.out.extend(packet::packet(b'E', b""));
        self.flush().await?;
        self.changes(subject.max_size, spool).await
    }

    /// The body, lines ended by CRLF.
    async fn body(&mut self, content: &Content, from: usize) -> Result<Option<Judgement>, Fault> {
        let in_memory = content.in_memory().is_some();
        let mut reader = content.reader();
        reader.skip(from as u64);
        let mut previous = b'\n';
        loop {
            let piece;
            (reader, piece) = next_piece(reader, in_memory).await?;
            if piece.is_empty() {
                return Ok(None);
            }
            let mut chunk = Vec::with_capacity(piece.len() + piece.len() / 32);
            for octet in piece {
                if octet == b'\n' && previous != b'\r' {
                    chunk.push(b'\r');
                }
                chunk.push(octet);
                previous = octet;
            }
            match self.say(b'B', &chunk, 0, step::NO_REPLY_BODY).await? {
                Verdict::GoOn => {}
                Verdict::Skip => return Ok(None),
                Verdict::Judged(judgement) => return Ok(Some(judgement)),
            }
            if self.out.len() >= MILTER_BODY_CHUNK {
                self.flush().await?;
            }
        }
    }

    /// What the milter says after the end of the message, up to its judgement.
    async fn changes(&mut self, max_size: u64, spool: &Path) -> Result<Judgement, Fault> {
        let spaced = self.steps & step::LEADING_SPACE != 0;
        let mut changes = Changes::default();
        let mut body: Option<ContentWriter> = None;
        loop {
            let said = self.hear().await?;
            let change = match said {
                Said::Progress => continue,
                Said::Continue | Said::Accept => {
                    changes.body = body.map(ContentWriter::finish).transpose()?;
                    return Ok(Judgement::Pass(Box::new(changes)));
                }
                Said::AddHeader { name, value } => Field::new(&name, &value, spaced).map(HeaderChange::Add),
                Said::InsertHeader { at, name, value } => {
                    Field::new(&name, &value, spaced).map(|field| HeaderChange::Insert(at, field))
                }
                Said::ChangeHeader { nth, name, value } => {
                    // An empty value takes the field away; one that cannot stand there is no reason to.
                    let field = Field::new(&name, &value, spaced);
                    let fits = value.is_empty() || field.is_some();
                    let field = field.filter(|_| !value.is_empty());
                    let name = String::from_utf8(name).ok().filter(|_| fits);
                    name.map(|name| HeaderChange::Change { nth, name, field })
                }
                Said::ReplaceBody(chunk) => {
                    let writer = body.get_or_insert_with(|| ContentWriter::new(spool.to_owned()));
                    let lines: Vec<u8> = chunk.into_iter().filter(|b| *b != b'\r').collect();
                    writer.push(&lines)?;
                    if writer.len() > max_size {
                        return Err(Fault::Nonsense("a body past smtp.max_message_size"));
                    }
                    continue;
                }
                Said::Quarantine(reason) => {
                    changes.quarantine = Some(clean(&reason));
                    continue;
                }
                Said::Other(command) => {
                    tracing::warn!(command = %char::from(command).escape_default(), "a milter wants what was not agreed on");
                    continue;
                }
                other => return ending(other),
            };
            changes.header.push(change.ok_or(Fault::Nonsense("a field that cannot stand in a header"))?);
            if changes.header.len() > MILTER_CHANGES {
                return Err(Fault::Nonsense("too many changes"));
            }
        }
    }
}

/// The next piece of a body; from a file on a thread that may wait for the disk. Every octet may become two, so it is
/// half as long as a milter takes.
async fn next_piece(mut reader: ContentReader, in_memory: bool) -> io::Result<(ContentReader, Vec<u8>)> {
    let read = move || {
        let mut piece = vec![0; MILTER_BODY_CHUNK / 2];
        let n = reader.read(&mut piece)?;
        piece.truncate(n);
        Ok((reader, piece))
    };
    if in_memory { read() } else { tokio::task::spawn_blocking(read).await.map_err(io::Error::other)? }
}

/// The judgement in what ends the questions.
fn ending(said: Said) -> Result<Judgement, Fault> {
    match said {
        Said::Accept => Ok(Judgement::Pass(Box::default())),
        Said::Reject => Ok(Judgement::Refuse(550, None)),
        Said::TempFail => Ok(Judgement::Refuse(451, None)),
        Said::Discard => Ok(Judgement::Discard),
        Said::Reply(text) => {
            let text = clean(&text);
            let (code, rest) = text.split_once([' ', '-']).unwrap_or((&text, ""));
            let code = code.parse().ok().filter(|code| (400..600).contains(code));
            let code = code.ok_or(Fault::Nonsense("a reply without a code"))?;
            Ok(Judgement::Refuse(code, (!rest.is_empty()).then(|| rest.to_owned())))
        }
        Said::Shutdown => Err(Fault::Nonsense("it shuts down")),
        _ => Err(Fault::Nonsense("an answer that is none here")),
    }
}

/// One line of printable ASCII, no longer than a reply may be.
fn clean(text: &[u8]) -> String {
    let line = text.split(|b| *b == b'\n' || *b == b'\r').next().unwrap_or_default();
    line.iter().take(400).map(|b| if (b' '..=b'~').contains(b) { char::from(*b) } else { '?' }).collect()
}

#[cfg(test)]
mod tests;
