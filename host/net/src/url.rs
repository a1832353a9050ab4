//! URLs of what may be called: scheme, host, port, path. Nothing that two readers could read differently.
//!
//! In: text from a config or a plugin. Out: `Url`, `Origin`, `Host`, or the sentence that says what is
//! wrong. Odd spellings of addresses (decimal, octal, hexadecimal, short forms, percent signs, user
//! information, trailing dots, zone ids) are refused, not interpreted (I41).

use crate::limits;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use walhost_core::attempt::clean;

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As a URL begins.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A host name in lower case, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name of ASCII letters, digits, `-`, `_` and single dots between.
    Name(String),
    /// An address, written the one usual way.
    Ip(IpAddr),
}

impl Host {
    /// Reads a host as it stands in a URL: an IPv6 address in brackets. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Host, String> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or("the bracket of the IPv6 address is not closed")?;
            let ip: Ipv6Addr = inner.parse().map_err(|_| format!("`{}` is not an IPv6 address", clean(inner, 64)))?;
            return Ok(Host::Ip(IpAddr::V6(ip)));
        }
        check_name(text)?;
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Host::Ip(IpAddr::V4(ip)));
        }
        // A name whose last label is a number would be read as an address by many a resolver.
        let last = text.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        if last.bytes().all(|b| b.is_ascii_digit()) || hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(format!(
                "`{}` is not an address: write four decimal numbers, as in 192.0.2.1",
                clean(text, 64)
            ));
        }
        Ok(Host::Name(text.to_ascii_lowercase()))
    }
}

fn check_name(text: &str) -> Result<(), String> {
    let shown = || clean(text, 64);
    if text.is_empty() {
        return Err("the host is missing".into());
    }
    if text.len() > limits::HOST_BYTES_MAX {
        return Err(format!("the host is longer than {} bytes", limits::HOST_BYTES_MAX));
    }
    if !text.is_ascii() {
        return Err(format!("the host `{}` is not ASCII: write its xn-- form", shown()));
    }
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return Err(format!("the host `{}` has the character `{}`", shown(), odd.escape_default()));
    }
    if text.ends_with('.') {
        return Err(format!("the host `{}` ends in a dot: leave it out", shown()));
    }
    if text.split('.').any(|label| label.is_empty() || label.len() > limits::LABEL_BYTES_MAX) {
        return Err(format!("the host `{}` has a label that is empty or longer than 63 bytes", shown()));
    }
    Ok(())
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => formatter.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => write!(formatter, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(formatter, "[{ip}]"),
        }
    }
}

/// Scheme, host and port: what a grant names, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Lower case.
    pub host: Host,
    /// 1 to 65,535; the scheme's own when none was written.
    pub port: u16,
}

impl Origin {
    /// Reads `https://search.internal:9200`; one `/` may follow, nothing else.
    pub fn parse(text: &str) -> Result<Origin, String> {
        let url = Url::parse(text)?;
        if url.path_and_query() != "/" {
            return Err(format!("an origin is scheme, host and port: leave `{}` out", clean(url.path_and_query(), 64)));
        }
        Ok(url.origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(formatter, ":{}", self.port) }
    }
}

/// A URL that may be called, if its addresses may be dialled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    origin: Origin,
    uri: http::Uri,
}

impl Url {
    /// Reads a whole URL. The error says what is wrong, in a sentence that may be shown.
    pub fn parse(text: &str) -> Result<Url, String> {
        if text.len() > limits::URL_BYTES_MAX {
            return Err(format!("the URL is longer than {} bytes", limits::URL_BYTES_MAX));
        }
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic() && c.is_ascii()) {
            return Err(format!("the URL has the character `{}`: write it percent-encoded", odd.escape_default()));
        }
        if text.contains('\\') {
            return Err("the URL has a backslash".into());
        }
        let (scheme, rest) = text.split_once("://").ok_or("the URL does not begin with http:// or https://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(format!("the scheme `{}` is not http or https", clean(other, 32))),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("the URL has user information before the host: write it as the header `authorization`".into());
        }
        let (host, port) = split_port(authority, scheme.port())?;
        let origin = Origin { scheme, host, port };
        let uri = format!("{origin}{}", check_path(path)?)
            .parse()
            .map_err(|error: http::uri::InvalidUri| format!("the URL cannot be used: {error}"))?;
        Ok(Url { origin, uri })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query; begins with `/`.
    pub fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// As the HTTP library wants it.
    pub fn uri(&self) -> &http::Uri {
        &self.uri
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.origin, self.path_and_query())
    }
}

fn split_port(authority: &str, default: u16) -> Result<(Host, u16), String> {
    let after_bracket = authority.rfind(']').map_or(0, |place| place + 1);
    let Some(colon) = authority[after_bracket..].find(':') else {
        return Ok((Host::parse(authority)?, default));
    };
    let (host, port) = authority.split_at(after_bracket + colon);
    Ok((Host::parse(host)?, parse_port(&port[1..])?))
}

/// Reads a port: 1 to 65,535, digits only.
pub fn parse_port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(format!("`{}` is not a port: write a number from 1 to 65535", clean(text, 32))),
    }
}

fn check_path(path: &str) -> Result<String, String> {
    if path.contains('#') {
        return Err("the URL has a fragment (`#`), which is never sent: leave it out".into());
    }
    if !path.is_ascii() {
        return Err("the path is not ASCII: write it percent-encoded".into());
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

#[cfg(test)]
mod tests;
