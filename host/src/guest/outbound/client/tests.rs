//! Upstreams with certificates of the tests' own authority.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Longer than what a socket or a TLS record holds.
const LONG: usize = 1 << 20;

/// Vouches for servers.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn roots(&self) -> Roots {
        Roots::Only(vec![self.0.der().clone()])
    }

    /// A server that shows a certificate for the address on which tests listen.
    fn server(&self) -> Shown {
        self.shows(CertificateParams::new(["127.0.0.1".to_owned()]).unwrap())
    }

    fn shows(&self, params: CertificateParams) -> Shown {
        let key = KeyPair::generate().unwrap();
        Shown {
            certificate: params.signed_by(&key, &self.0).unwrap().der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            versions: vec![&TLS12, &TLS13],
            protocols: Vec::new(),
        }
    }
}

/// What a server shows its clients.
struct Shown {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    versions: Vec<&'static SupportedProtocolVersion>,
    protocols: Vec<Vec<u8>>,
}

impl Shown {
    fn acceptor(self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)
            .unwrap();
        config.alpn_protocols = self.protocols;
        TlsAcceptor::from(Arc::new(config))
    }

    async fn start(self) -> Server {
        Server::start(Some(self.acceptor())).await
    }
}

/// Answers each request with its body, and counts connections.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
}

impl Server {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicU64::new(0));
        let counter = accepted.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                match tls.clone() {
                    None => drop(tokio::spawn(echo(stream))),
                    Some(tls) => drop(tokio::spawn(async move {
                        // What a client refuses is seen by the client.
                        if let Ok(stream) = tls.accept(stream).await {
                            echo(stream).await;
                        }
                    })),
                }
            }
        });
        Self { address, accepted }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/", self.address)
    }
}

async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let answer = service_fn(|request: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    // The connection ends when the client is dropped.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

fn client(roots: Roots) -> Client {
    Client::with_roots(&OutboundConfig::default(), roots)
}

async fn post(client: &Client, url: &str, body: Bytes) -> Result<Bytes, HttpError> {
    let body = Full::new(body).map_err(|never| match never {});
    let request = Request::post(url).body(body.boxed_unsync()).unwrap();
    let response = client.send(request).await?;
    Ok(response.into_body().collect().await.unwrap().to_bytes())
}

/// What the guest is told about a request that fails.
async fn refusal(client: &Client, url: &str) -> String {
    let answered = post(client, url, Bytes::new()).await;
    format!("{:?}", answered.expect_err(url))
}

#[tokio::test]
async fn bodies_arrive_whole_over_one_connection_of_either_version() {
    let authority = Authority::new();
    let check = async |version: &'static SupportedProtocolVersion| {
        let shown = Shown {
            versions: vec![version],
            ..authority.server()
        };
        let server = shown.start().await;
        let client = client(authority.roots());
        for byte in [b'a', b'b'] {
            let body = Bytes::from(vec![byte; LONG]);
            let answer = post(&client, &server.url("https"), body.clone()).await;
            assert!(answer.unwrap() == body, "{version:?}");
        }
        assert_eq!(server.accepted.load(Ordering::Relaxed), 1, "{version:?}");
    };
    check(&TLS12).await;
    check(&TLS13).await;
}

#[tokio::test]
async fn one_client_speaks_with_tls_and_without() {
    let authority = Authority::new();
    let client = client(authority.roots());
    let plain = Server::start(None).await;
    let secure = authority.server().start().await;
    for url in [plain.url("http"), secure.url("https"), plain.url("http")] {
        let answer = post(&client, &url, Bytes::from_static(b"hello")).await;
        assert_eq!(answer.unwrap(), "hello", "{url}");
    }
}

#[tokio::test]
async fn certificates_that_prove_nothing_are_refused() {
    let authority = Authority::new();
    let check = async |shown: Shown, roots: Roots| {
        let server = shown.start().await;
        refusal(&client(roots), &server.url("https")).await
    };
    let named = |name: &str| CertificateParams::new([name.to_owned()]).unwrap();
    let stranger = check(authority.server(), Authority::new().roots()).await;
    assert_eq!(stranger, "TlsCertificateError");
    let another = authority.shows(named("another.test"));
    let another = check(another, authority.roots()).await;
    assert_eq!(another, "TlsCertificateError");
    let mut past = named("127.0.0.1");
    past.not_after = date_time_ymd(2001, 1, 1);
    let expired = check(authority.shows(past), authority.roots()).await;
    assert_eq!(expired, "TlsCertificateError");
}

#[tokio::test]
async fn servers_without_a_common_protocol_are_told_apart() {
    let authority = Authority::new();
    let client = client(authority.roots());
    let plain = Server::start(None).await;
    let told = refusal(&client, &plain.url("https")).await;
    assert_eq!(told, "TlsProtocolError");
    let only_http_2 = Shown {
        protocols: vec![b"h2".to_vec()],
        ..authority.server()
    };
    let server = only_http_2.start().await;
    let told = refusal(&client, &server.url("https")).await;
    assert!(told.contains("NoApplicationProtocol"), "{told}");
}

#[tokio::test]
async fn servers_that_are_gone_are_so_with_tls_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(Authority::new().roots());
    for scheme in ["http", "https"] {
        let told = refusal(&client, &format!("{scheme}://{address}/")).await;
        assert_eq!(told, "ConnectionRefused", "{scheme}");
    }
}

#[tokio::test]
async fn a_silent_handshake_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = OutboundConfig {
        connect_timeout: Duration::from_millis(100),
        ..OutboundConfig::default()
    };
    let client = Client::with_roots(&config, Authority::new().roots());
    let told = refusal(&client, &format!("https://{address}/")).await;
    assert_eq!(told, "ConnectionTimeout");
}

#[tokio::test]
async fn who_trusts_nobody_is_told_what_to_do() {
    let client = client(Roots::Only(Vec::new()));
    let server = Authority::new().server().start().await;
    let told = refusal(&client, &server.url("https")).await;
    assert!(told.contains("SSL_CERT_FILE"), "{told}");
    let asked = server.accepted.load(Ordering::Relaxed);
    assert_eq!(asked, 0, "nobody is asked who cannot be trusted");
}
