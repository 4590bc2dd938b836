//! Texts that are missing: asks the host for them, and passes them on while they are written. The rules are in
//! [`crate::items`].

use std::pin::Pin;
use std::rc::Rc;

use brink_protocol::generate::{GenerateEvent, broken_off};
use brink_protocol::{Fault, InferReply, InferredItem};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::stream::{self, SelectAll, Stream, StreamExt};

use super::items::{Attempt, Told, store_afterwards};
use super::upstream::TextStream;
use super::{Edge, SystemClock};
use crate::error::ApiError;
use crate::hit::{Concluded, Missing};
use crate::items::{Gathered, Progress, Streaming, answer};
use crate::kept_stream::KeptStream;

/// A body that is written while it is sent.
pub(super) type Live = Pin<Box<dyn Stream<Item = Bytes>>>;

/// Events of several texts, each with the place of its call.
type Events = SelectAll<Pin<Box<dyn Stream<Item = (usize, GenerateEvent)>>>>;

pub(super) async fn attempt(
    edge: &Rc<Edge>,
    missing: Box<Missing>,
    id: &str,
) -> Result<Attempt, ApiError> {
    let waits = edge.settings.text_waits();
    let calls = missing.text_calls(id, waits);
    let opening = calls.iter().map(|call| edge.open_text(call, waits));
    // A call that cannot begin has a status, and no other one is waited for.
    let opened = match try_join_all(opening).await {
        Ok(opened) => opened,
        Err(refused) => return concluded(edge, missing.conclude(*refused, &SystemClock)),
    };
    if let Some((reply, streaming)) = missing.begin_stream(&SystemClock) {
        let live = live(edge.clone(), missing, streaming, opened);
        return Ok(Attempt::Answered(Told::Live(reply, live)));
    }
    let gathering = opened.into_iter().enumerate();
    let gathered = try_join_all(gathering.map(|(call, stream)| gather(call, stream))).await;
    let told: InferReply = gathered.map(answer);
    concluded(edge, missing.conclude(Ok(told), &SystemClock))
}

/// Goes on with a text that the host keeps, or gives it up.
pub(super) async fn resume(edge: &Edge, asked: &KeptStream, id: &str) -> Result<Told, ApiError> {
    let call = asked.call(id, edge.settings.stream_heartbeat);
    let opened = edge.open_kept(&call, edge.settings.text_waits()).await;
    let stream = opened.map_err(|refused| match *refused {
        Ok(Err(fault)) => ApiError::from_fault(fault, None),
        Err(error) => error,
        Ok(Ok(_)) => ApiError::host_nonsense("results, where a text was asked for"),
    })?;
    let (reply, writer) = asked.begin();
    let Some(writer) = writer else {
        return Ok(Told::Whole(reply));
    };
    let events = events(0, stream);
    let pieces = stream::unfold((events, writer), |(mut events, mut writer)| async move {
        let mut out = String::new();
        while out.is_empty() {
            let (_, event) = events.next().await?;
            writer.event(&event, &mut out);
        }
        Some((Bytes::from(out), (events, writer)))
    });
    Ok(Told::Live(reply, Box::pin(pieces)))
}

fn concluded(edge: &Rc<Edge>, concluded: Concluded) -> Result<Attempt, ApiError> {
    Ok(match concluded {
        Concluded::Answered(answer, store) => {
            store_afterwards(edge.clone(), store);
            Attempt::Answered(Told::Whole(answer?))
        }
        Concluded::ModelChanged(missing) => Attempt::ModelChanged(missing),
    })
}

/// Waits for all of a text.
async fn gather(call: usize, mut stream: TextStream) -> Result<InferredItem, Fault> {
    let mut gathered = Gathered::default();
    loop {
        let event = stream.next().await.unwrap_or_else(broken_off);
        if let Some(ended) = gathered.add(&event) {
            let at = |fault: Fault| Fault {
                item: u32::try_from(call).ok(),
                ..fault
            };
            return ended.map_err(at);
        }
    }
}

/// What a stream under way consists of.
struct UnderWay {
    edge: Rc<Edge>,
    /// Until it is concluded.
    open: Option<(Box<Missing>, Streaming)>,
    events: Events,
    has_begun: bool,
}

/// The events of a text until its end, of which there is always one.
fn events(call: usize, stream: TextStream) -> Pin<Box<dyn Stream<Item = (usize, GenerateEvent)>>> {
    Box::pin(stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        let event = stream.next().await.unwrap_or_else(broken_off);
        let is_end = matches!(
            event,
            GenerateEvent::Finished { .. } | GenerateEvent::Failed(_)
        );
        Some(((call, event), (!is_end).then_some(stream)))
    }))
}

fn live(
    edge: Rc<Edge>,
    missing: Box<Missing>,
    streaming: Streaming,
    opened: Vec<TextStream>,
) -> Live {
    let opened = opened.into_iter().enumerate();
    let events = opened.map(|(call, stream)| events(call, stream));
    let under_way = UnderWay {
        edge,
        open: Some((missing, streaming)),
        events: stream::select_all(events),
        has_begun: false,
    };
    Box::pin(stream::unfold(under_way, |mut under_way| async move {
        let piece = under_way.next().await?;
        Some((piece, under_way))
    }))
}

impl UnderWay {
    /// What is sent next; `None` after the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = String::new();
        while out.is_empty() {
            let (_, streaming) = self.open.as_mut()?;
            if !self.has_begun {
                self.has_begun = true;
                streaming.begin(&mut out);
                continue;
            }
            let (call, event) = self.events.next().await?;
            match streaming.event(call, &event, &mut out) {
                Progress::Open => {}
                Progress::Complete => self.conclude(),
                Progress::Failed => self.open = None,
            }
        }
        Some(out.into())
    }

    /// All texts are whole: only now they are stored.
    fn conclude(&mut self) {
        let Some((missing, streaming)) = self.open.take() else {
            return;
        };
        let told = Ok(Ok(streaming.into_answer()));
        if let Concluded::Answered(_, store) = missing.conclude(told, &SystemClock) {
            store_afterwards(self.edge.clone(), store);
        }
    }
}
