//! Certificates and TLS policies, for both directions.
//!
//! TLS 1.2 and 1.3 only (RFC 8996; rustls has nothing older). Knows nothing of the protocols inside.

mod client;
mod expiry;
mod self_signed;
mod server;

pub use client::any_certificate;
pub use client::verified_certificate;
pub use server::Fault;
pub use server::ServerTls;
pub use server::Service;
