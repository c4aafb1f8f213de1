//! One pure function from a message to a verdict.
//!
//! The envelope was judged at RCPT; what is judged here is the header.

use crate::mail::limits::RECEIVED_HOPS;
use crate::message::header::Header;
use crate::protocol::smtp::reply::Reply;

/// Whether a message with this header may be taken.
///
/// # Errors
/// The reply that says why not.
pub fn judge(header: &Header<'_>) -> Result<(), Reply> {
    // RFC 5321 §6.3: counting is the simple way to find a loop.
    if header.all("Received").count() >= RECEIVED_HOPS {
        return Err(Reply::mail_loop());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header;

    #[test]
    fn a_loop_is_found_at_its_limit() {
        for (hops, wanted) in [(RECEIVED_HOPS - 1, Ok(())), (RECEIVED_HOPS, Err(Reply::mail_loop()))] {
            let message = "Received: x\n".repeat(hops);
            assert_eq!(judge(&header::read(message.as_bytes()).expect("small")), wanted);
        }
    }
}
