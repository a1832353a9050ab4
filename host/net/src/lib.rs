//! Outbound connections: the only room that decides whether an address may be dialled.
//!
//! In: a strict URL, the addresses that the caller may dial, bounds. Out: an answer, or a `Fault` that
//! says exactly how far it got. Every address that a name resolves to is checked, and the connection goes
//! to the very address that was checked (I41). No redirects, no proxies from the environment, no
//! connection shared between callers who may dial different things.

pub mod url;
pub mod address;
pub mod allow;
pub mod fault;
pub mod deadline;
pub mod resolve;
pub mod dial;
pub mod tls;
mod connect;
pub mod client;
pub mod limits;

pub use address::Cidr;
pub use allow::Allow;
pub use client::{Client, ClientPolicy, Request, Response};
pub use dial::Dialer;
pub use fault::Fault;
pub use resolve::{Resolver, SystemResolver};
pub use tls::TlsSettings;
pub use url::{Host, Origin, Scheme, Url};
