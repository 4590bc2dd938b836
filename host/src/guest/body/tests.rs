//! Limits of bodies, in paused time.

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::{Full, StreamBody};
use tokio::sync::mpsc;

use super::*;

const LIMITS: BodyLimits = BodyLimits {
    max_bytes: 10,
    idle_timeout: Duration::from_secs(5),
    total_timeout: Duration::from_secs(12),
};

type Sender = mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;

fn channel() -> (
    Sender,
    impl Body<Data = Bytes, Error = std::io::Error> + Unpin,
) {
    let (sender, mut receiver) = mpsc::channel(16);
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, StreamBody::new(stream))
}

async fn send(sender: &Sender, data: &'static str) {
    let frame = Frame::data(Bytes::from_static(data.as_bytes()));
    sender.send(Ok(frame)).await.unwrap();
}

#[tokio::test]
async fn a_body_up_to_the_limit_passes_and_one_byte_more_does_not() {
    let exact = LimitedBody::new(Full::new(Bytes::from_static(b"0123456789")), LIMITS);
    assert_eq!(exact.collect().await.unwrap().to_bytes().len(), 10);
    let more = LimitedBody::new(Full::new(Bytes::from_static(b"0123456789a")), LIMITS);
    let noted = more.fault();
    let expected = BodyFault::TooLarge { max_bytes: 10 };
    assert_eq!(more.collect().await.unwrap_err(), expected);
    assert_eq!(noted.get(), Some(&expected));
}

#[tokio::test(start_paused = true)]
async fn silence_breaks_the_idle_limit() {
    let (_sender, body) = channel();
    let error = LimitedBody::new(body, LIMITS).collect().await.unwrap_err();
    let timeout = LIMITS.idle_timeout;
    assert_eq!(error, BodyFault::TimedOut { timeout });
}

#[tokio::test(start_paused = true)]
async fn a_drip_breaks_the_total_limit() {
    let (sender, body) = channel();
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_secs(4)).await;
            send(&sender, "x").await;
        }
    };
    let read = LimitedBody::new(body, LIMITS).collect();
    let result = tokio::select! { result = read => result, () = drip => unreachable!() };
    let timeout = LIMITS.total_timeout;
    assert_eq!(result.unwrap_err(), BodyFault::TimedOut { timeout });
}

#[tokio::test]
async fn reading_ahead_keeps_the_bytes_and_stops_at_its_limit() {
    let (sender, body) = channel();
    for data in ["ab", "cd", "ef"] {
        send(&sender, data).await;
    }
    let body = LimitedBody::new(body, LIMITS);
    // Returns although the sender has not ended: four bytes are here.
    let ahead = ReadAhead::read(body, 4).await.unwrap();
    assert!(!ahead.is_end_stream());
    drop(sender);
    let all = ahead.collect().await.unwrap().to_bytes();
    assert_eq!(all, Bytes::from_static(b"abcdef"));
}

#[tokio::test]
async fn a_whole_small_body_is_read_ahead_with_an_exact_size() {
    let body = LimitedBody::new(Full::new(Bytes::from_static(b"abc")), LIMITS);
    let ahead = ReadAhead::read(body, 64).await.unwrap();
    assert_eq!(ahead.size_hint().exact(), Some(3));
    assert_eq!(
        ahead.collect().await.unwrap().to_bytes(),
        Bytes::from_static(b"abc")
    );
}
