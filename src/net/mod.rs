//! Sockets: listeners, connections plain or with TLS, limits per peer, and the loop that drives a machine.
//!
//! Knows no protocol; what a refusal says is handed in.

mod connection;
#[cfg(fuzzing)]
#[path = "../../tests/fuzz/inside/proxy_header.rs"]
pub mod fuzz;
mod limits;
mod listen;
mod proxy;
mod pump;
mod unix;

pub use connection::Connection;
pub use limits::Class;
pub use limits::Limiter;
pub use limits::Refusal;
pub use limits::Slot;
pub use listen::BindError;
pub use listen::Listener;
pub use listen::bind;
pub use pump::Answers;
pub use pump::Sent;
pub use pump::pump;
pub use unix::UnixSocket;
