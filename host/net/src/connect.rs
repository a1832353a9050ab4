//! The connector under the pool: dials through the filter, then agrees on TLS, both within one deadline.
//!
//! In: a URI that `Url` has read. Out: a stream, or the fault, in the shapes that the HTTP library wants.

use crate::allow::Allow;
use crate::deadline::within;
use crate::dial::Dialer;
use crate::fault::Fault;
use crate::url::Host;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;
use walhost_core::Clock;

/// What a connect gives: TCP, with TLS around it or not.
pub(crate) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// TCP through the filter of one [`Allow`].
#[derive(Clone)]
struct Tcp {
    dialer: Dialer,
    allow: Allow,
    timeout: Duration,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = Fault;
    type Future = BoxFuture<Self::Response, Fault>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tcp = self.clone();
        Box::pin(async move {
            let host = Host::parse(uri.host().unwrap_or_default()).map_err(Fault::Denied)?;
            let https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
            let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
            tcp.dialer.dial(&host, port, &tcp.allow, tcp.timeout).await.map(TokioIo::new)
        })
    }
}

/// TCP and TLS within one deadline.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<Tcp>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

impl Connector {
    /// Dials what `allow` allows, within `timeout`.
    pub(crate) fn new(
        dialer: Dialer,
        allow: Allow,
        tls: Arc<rustls::ClientConfig>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Connector {
        let tcp = Tcp { dialer, allow, timeout };
        Connector { https: HttpsConnector::from((tcp, tls)), clock, timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Fault;
    type Future = BoxFuture<Stream, Fault>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let connecting = self.https.call(uri);
        let (clock, timeout) = (self.clock.clone(), self.timeout);
        Box::pin(async move {
            match within(&*clock, timeout, connecting).await {
                Some(Ok(stream)) => Ok(stream),
                Some(Err(error)) => Err(match error.downcast::<Fault>() {
                    Ok(fault) => *fault,
                    Err(error) => Fault::Tls(format!("{authority}: {error}")).cleaned(),
                }),
                None => {
                    Err(Fault::ConnectTimeout(format!("no connection to {authority} within {timeout:?}")).cleaned())
                }
            }
        })
    }
}
