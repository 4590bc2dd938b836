//! Embeddings of another service, input by input. The rules are in [`crate::origin::items`].

use brink_cache::http::shared::counts_as_error;
use brink_cache::policy::ItemFormat;
use brink_cache::{Outcome, OutcomeCounts};
use brink_protocol::limits::MAX_MESSAGE_BYTES;
use bytes::Bytes;
use http::StatusCode;
use spin_sdk::wasip3;

use super::ask::{Answered, Body};
use super::collapse::{Duty, Next};
use super::posted::{Posted, json_fields};
use super::{Exchange, Response};
use crate::edge::{SystemClock, body};
use crate::error::ApiError;
use crate::hit::Clock;
use crate::origin::Made;
use crate::origin::items::{Items, Understood, understand};
use crate::origin::known::Known;
use crate::origin::told::Told;

impl Exchange {
    /// Answers with the results that are stored and those of one call for the rest.
    pub(super) async fn items(
        &self,
        posted: Posted,
        format: ItemFormat,
        items: Items,
    ) -> Result<Response, ApiError> {
        let known = self.known(&items).await;
        let missing = places(&known, Known::is_missing);
        let split = Split {
            exchange: self,
            posted: &posted,
            format,
            items: &items,
        };
        if missing.is_empty() {
            let stale = places(&known, |known| known.refresh);
            let response = split.answer(known, Understood::default());
            split.refresh_afterwards(&stale);
            return Ok(response);
        }
        self.may_ask()?;
        let gate = items
            .gate(&missing)
            .filter(|_| !self.call.control().no_cache);
        let Some(gate) = gate else {
            return split.ask(known, (&missing, None)).await;
        };
        let is_there = async || !self.known(&items).await.iter().any(Known::is_missing);
        match self.next(gate, is_there).await {
            Next::Ask(duty) => split.ask(known, (&missing, duty)).await,
            Next::LookAgain => split.look_again(known, &missing).await,
        }
    }

    /// What is known of each distinct input.
    async fn known(&self, items: &Items) -> Vec<Known> {
        let now = SystemClock.now();
        let keys = items.distinct.iter().map(|(key, _)| key.to_hex());
        let fetched = self.edge.store.get_all(keys).await;
        let pairs = items.distinct.iter().zip(fetched);
        pairs
            .map(|((key, _), fetched)| self.call.known(key, fetched, now))
            .collect()
    }
}

fn places(known: &[Known], wanted: impl Fn(&Known) -> bool) -> Vec<usize> {
    let places = known.iter().enumerate().filter(|(_, known)| wanted(known));
    places.map(|(place, _)| place).collect()
}

/// A request that is answered input by input.
struct Split<'e> {
    exchange: &'e Exchange,
    posted: &'e Posted,
    format: ItemFormat,
    items: &'e Items,
}

impl Split<'_> {
    /// Answers with what another request brought meanwhile; asks if it is gone again.
    async fn look_again(
        &self,
        before: Vec<Known>,
        missing: &[usize],
    ) -> Result<Response, ApiError> {
        let mut known = self.exchange.known(self.items).await;
        if known.iter().any(Known::is_missing) {
            return self.ask(before, (missing, None)).await;
        }
        for place in missing {
            known[*place].outcome = Outcome::Collapsed;
        }
        Ok(self.answer(known, Understood::default()))
    }

    /// Asks for what is missing, in one call.
    async fn ask(
        &self,
        known: Vec<Known>,
        (missing, duty): (&[usize], Option<Duty>),
    ) -> Result<Response, ApiError> {
        // With nothing known, the origin gets exactly what the client sent.
        let is_all = missing.len() == self.items.places.len();
        let asked = match is_all {
            true => self.posted.bytes.clone(),
            false => self.items.body_for(&self.posted.body, missing).into(),
        };
        let exchange = self.exchange;
        let fields = exchange.call.fields.clone();
        let answered = match exchange.ask(fields, Body::Whole(asked)).await {
            Ok(answered) => answered,
            Err(error) => {
                let status = error.status.as_u16();
                return self.on_error(known, status).ok_or(error);
            }
        };
        let status = answered.head.status;
        if counts_as_error(status)
            && known
                .iter()
                .all(|one| one.result.is_some() || one.on_error.is_some())
        {
            return self
                .on_error(known, status)
                .ok_or_else(|| unreadable(exchange));
        }
        if status != StatusCode::OK.as_u16() {
            // Of the whole request: nothing of it is answered in part.
            let told = Told::items(self.outcomes(&known));
            return Ok(exchange.passed(answered, &told));
        }
        self.complete(known, (missing, duty), answered).await
    }

    async fn complete(
        &self,
        mut known: Vec<Known>,
        (missing, duty): (&[usize], Option<Duty>),
        answered: Answered,
    ) -> Result<Response, ApiError> {
        let exchange = self.exchange;
        let is_all = missing.len() == self.items.places.len();
        let refusal = exchange.call.refuses(&answered.head);
        let made = Made::after(&answered);
        let Answered {
            head, fields, body, ..
        } = answered;
        let body = body::read(body, None, MAX_MESSAGE_BYTES as u64).await;
        let body = body.map_err(|_| unreadable(exchange))?;
        let understood = understand(self.format, &body, missing.len());
        let mut told = Told::items(self.outcomes(&known));
        let Some(understood) = understood else {
            if !is_all {
                return Err(unreadable(exchange));
            }
            let told = told.detail("no-results");
            return Ok(exchange.response(head.status, fields, &told, body.into()));
        };
        match refusal {
            Some(reason) => {
                told = told.detail(reason);
                if let Some(duty) = duty {
                    duty.give_up();
                }
            }
            None => {
                told.status.stored = true;
                self.store_afterwards((missing, duty), &understood, made);
            }
        }
        if is_all {
            return Ok(exchange.response(head.status, fields, &told, body.into()));
        }
        for (place, result) in missing.iter().zip(&understood.results) {
            known[*place].result = Some(result.clone());
        }
        Ok(self.answer_told(known, understood, told))
    }

    fn answer(&self, known: Vec<Known>, understood: Understood) -> Response {
        let mut told = Told::items(self.outcomes(&known));
        if known.iter().any(|known| known.refresh) {
            told = told.detail("stale-while-revalidate");
        }
        self.answer_told(known, understood, told)
    }

    /// The answer of one result for each distinct input. All are there.
    fn answer_told(&self, known: Vec<Known>, mut understood: Understood, told: Told) -> Response {
        let age = known.iter().map(|known| known.age).max();
        let results: Vec<_> = known.into_iter().filter_map(|known| known.result).collect();
        if understood.model.is_empty() {
            self.posted.body.model().clone_into(&mut understood.model);
        }
        let body = Bytes::from(self.items.answer(&results, &understood));
        let mut fields = json_fields();
        fields.insert("content-length", body.len().to_string());
        if let Some(age) = age.filter(|age| *age > 0) {
            fields.insert("age", age.to_string());
        }
        self.exchange.response(200, fields, &told, body.into())
    }

    /// Answers with stale results because asking failed; `None` if not every input has one that may.
    fn on_error(&self, mut known: Vec<Known>, status: u16) -> Option<Response> {
        if !counts_as_error(status) {
            return None;
        }
        let told = Told::items(self.outcomes(&known))
            .forward_status(status)
            .detail("stale-if-error");
        for known in &mut known {
            known.result = Some(known.result.take().or(known.on_error.take())?);
        }
        Some(self.answer_told(known, Understood::default(), told))
    }

    /// How every input of the body fared. A repetition of one that was asked for was collapsed onto the first.
    fn outcomes(&self, known: &[Known]) -> OutcomeCounts {
        let mut seen = vec![false; known.len()];
        let of = |place: &usize| match known[*place].outcome {
            Outcome::Hit => Outcome::Hit,
            _ if std::mem::replace(&mut seen[*place], true) => Outcome::Collapsed,
            outcome => outcome,
        };
        self.items.places.iter().map(of).collect()
    }

    fn store_afterwards(
        &self,
        (missing, duty): (&[usize], Option<Duty>),
        understood: &Understood,
        made: Made,
    ) {
        let call = &self.exchange.call;
        let entry = |(place, result): (&usize, &Bytes)| {
            let (key, _) = self.items.distinct[*place];
            call.item_entry(key, result, made)
        };
        let entries: Vec<_> = missing
            .iter()
            .zip(&understood.results)
            .filter_map(entry)
            .collect();
        let edge = self.exchange.edge.clone();
        wasip3::spawn(async move {
            edge.store_all(entries).await;
            if let Some(duty) = duty {
                duty.fulfil().await;
            }
        });
    }

    /// Asks anew for results that were served stale.
    fn refresh_afterwards(&self, stale: &[usize]) {
        let Some((first, _)) = stale
            .first()
            .map(|place| self.items.distinct[*place].clone())
        else {
            return;
        };
        if self.exchange.call.control().only_if_cached {
            return;
        }
        let body: Bytes = self.items.body_for(&self.posted.body, stale).into();
        let keys: Vec<_> = stale
            .iter()
            .map(|place| self.items.distinct[*place].0)
            .collect();
        let format = self.format;
        self.exchange
            .in_background(first, async move |exchange, duty| {
                // Another edge may have done so between the look-up and the lease.
                let stored = exchange.edge.store.get(first.to_hex()).await;
                if !exchange
                    .call
                    .known(&first, stored, SystemClock.now())
                    .refresh
                {
                    return;
                }
                let fields = exchange.call.fields.clone();
                let Ok(answered) = exchange.ask(fields, Body::Whole(body)).await else {
                    return;
                };
                if answered.head.status != 200 || exchange.call.refuses(&answered.head).is_some() {
                    return;
                }
                let made = Made::after(&answered);
                let Ok(body) = body::read(answered.body, None, MAX_MESSAGE_BYTES as u64).await
                else {
                    return;
                };
                let Some(understood) = understand(format, &body, keys.len()) else {
                    return;
                };
                let pairs = keys.iter().zip(&understood.results);
                let entries =
                    pairs.filter_map(|(key, result)| exchange.call.item_entry(*key, result, made));
                exchange.edge.store_all(entries.collect()).await;
                if let Some(duty) = duty {
                    duty.fulfil().await;
                }
            });
    }
}

fn unreadable(exchange: &Exchange) -> ApiError {
    ApiError::origin_nonsense(&exchange.origin)
}
