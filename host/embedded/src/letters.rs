//! Dead letters of a queue: list, groups, one in detail, redrive, purge, expire.
//!
//! In: ids, filters. Out: letters; frames that end them (I17).

use crate::commit::Ticket;
use crate::dead_letters::Dead;
use crate::frame;
use crate::frame::again::{self, Again, Class, Instead, Returned, Span};
use crate::frame::dead::{self, Letter};
use crate::frame::fact::Fact;
use crate::identity::{Identity, dead_letter_id, dead_letter_number};
use crate::limits::{
    self, DEAD_FRAME_BYTES_MAX, EXPIRED_AT_ONCE_MAX, EXPIRED_SLICES_MAX, LETTERS_AT_ONCE_MAX, REDRIVE_RECORDS_MAX,
};
use crate::queue::EmbeddedQueue;
use crate::shared::{Namespace, durable, refused};
use crate::view::{Landed, View};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::oneshot;
use walhost_core::inspect::{DeadLetter, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, DeadLetterId, Page};
use walhost_core::limits::PAGE_MAX;
use walhost_core::{Attempt, Error, Kind, Record, Result, TargetName, VerdictKind};
use walhost_log::{FrameDraft, Place, Urgency};

/// A letter that goes again, and where it is.
struct Wanted {
    number: u64,
    place: Place,
    /// How many letters its frame holds, and which one of them it is.
    of: u32,
    index: u32,
}

/// Who tells when a frame is durable.
type Answer = oneshot::Receiver<Result<(), walhost_log::Failure>>;

fn shown(view: &View, number: u64, dead: &Dead) -> DeadLetter {
    let none = Attempt {
        number: 0,
        at_ms: dead.dead_at_ms,
        verdict: VerdictKind::Reject,
        code: String::new(),
        message: String::new(),
        digest: None,
    };
    DeadLetter {
        id: dead_letter_id(view.incarnation, number),
        record: Identity { incarnation: view.incarnation, epoch: dead.epoch, offset: dead.origin }.record_id(),
        target: view.targets[usize::from(dead.target)].name.clone(),
        last: dead.last().unwrap_or(none),
        exhausted: dead.exhausted,
        appended_at_ms: dead.appended_at_ms,
        dead_at_ms: dead.dead_at_ms,
    }
}

impl EmbeddedQueue {
    /// One page, oldest first; the cursor is the number of the next one.
    pub(crate) fn list(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>> {
        let bad = || Error::new(Kind::Invalid, "queue.dead_letters", "this cursor was not given by this list");
        let from = cursor.map_or(Some(0), |cursor| cursor.parse().ok()).ok_or_else(bad)?;
        let limit = limit.clamp(1, PAGE_MAX);
        let mut page = Page { items: Vec::new(), next: None };
        self.each_letter(from, |number, letter| {
            if !filter.matches(&letter) {
                return true;
            }
            if page.items.len() == limit {
                page.next = Some(number.to_string());
                return false;
            }
            page.items.push(letter);
            true
        });
        Ok(page)
    }

    /// Shows every letter from a number on, until `take` has enough. Ingest gets the lock in between.
    fn each_letter(&self, mut from: u64, mut take: impl FnMut(u64, DeadLetter) -> bool) {
        loop {
            let view = self.namespace().view.lock();
            let mut looked_at = 0;
            for (number, dead) in view.dead.from(from).take(LETTERS_AT_ONCE_MAX) {
                if !take(number, shown(&view, number, dead)) {
                    return;
                }
                from = number.saturating_add(1);
                looked_at += 1;
            }
            if looked_at < LETTERS_AT_ONCE_MAX {
                return;
            }
            parking_lot::MutexGuard::unlock_fair(view);
        }
    }

    pub(crate) fn groups(&self) -> Vec<DeadLetterGroup> {
        let mut groups: HashMap<(String, TargetName, Option<walhost_core::Digest>), DeadLetterGroup> = HashMap::new();
        self.each_letter(0, |_, letter| {
            let key = (letter.last.code.clone(), letter.target.clone(), letter.last.digest);
            let group = groups.entry(key).or_insert(DeadLetterGroup {
                code: letter.last.code,
                target: letter.target,
                digest: letter.last.digest,
                count: 0,
                oldest_at_ms: u64::MAX,
                newest_at_ms: 0,
            });
            group.count += 1;
            group.oldest_at_ms = group.oldest_at_ms.min(letter.dead_at_ms);
            group.newest_at_ms = group.newest_at_ms.max(letter.dead_at_ms);
            true
        });
        let mut groups: Vec<DeadLetterGroup> = groups.into_values().collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cmp(b)));
        groups
    }

    /// The letter as it is on disk; none when it is gone or cannot be read.
    pub(crate) async fn letter(&self, number: u64) -> Result<Option<Letter>> {
        let mut before = None;
        loop {
            let wanted = {
                let view = self.namespace().view.lock();
                view.dead.get(number).and_then(|dead| Some((dead.place?, dead.of, dead.index)))
            };
            // It may have been copied to another place while it was read.
            let Some((place, of, index)) = wanted.filter(|_| wanted != before) else { return Ok(None) };
            before = wanted;
            match self.read_letters(place, of).await {
                Ok(letters) => return Ok(letters.into_iter().nth(index as usize)),
                Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn read_letters(&self, place: Place, count: u32) -> Result<Vec<Letter>> {
        let shared = Arc::clone(&self.namespace().shared);
        let read = move || shared.log.read(place).and_then(|(_, body)| dead::decode(&body, count));
        walhost_core::exec::blocking(read)
            .await
            .map_err(|error| Error::new(Kind::Unavailable, "queue.read", "the read was given up").source(error))?
    }

    pub(crate) async fn detail(&self, id: &DeadLetterId) -> Result<Option<DeadLetterDetail>> {
        let Some((number, letter)) = ({
            let view = self.namespace().view.lock();
            dead_letter_number(view.incarnation, id)
                .and_then(|number| Some((number, shown(&view, number, view.dead.get(number)?))))
        }) else {
            return Ok(None);
        };
        let Some(stored) = self.letter(number).await? else { return Ok(None) };
        let record = Record {
            id: letter.record.clone(),
            sequence: stored.sequence,
            appended_at_ms: stored.appended_at_ms,
            attempt: letter.last.number,
            key: (!stored.key.is_empty()).then_some(stored.key),
            headers: stored.headers,
            value: stored.value,
        };
        Ok(Some(DeadLetterDetail { letter, record, attempts: stored.attempts.list() }))
    }

    /// Appends dead letters again, in as few frames as they fit.
    pub(crate) async fn send_again(&self, ids: &[DeadLetterId]) -> Result<u64> {
        const OPERATION: &str = "queue.redrive";
        let mut moved = 0;
        for part in self.wanted(ids)? {
            let mut frames: HashMap<u64, Vec<Letter>> = HashMap::new();
            let mut copied: HashMap<u64, Letter> = HashMap::new();
            for wanted in &part {
                let Entry::Vacant(frame) = frames.entry(wanted.place.log_sequence) else { continue };
                let error = match self.read_letters(wanted.place, wanted.of).await {
                    Ok(letters) => {
                        frame.insert(letters);
                        continue;
                    }
                    // Its frame may have been copied to another place, and given back.
                    Err(error) => match self.letter(wanted.number).await {
                        Ok(Some(letter)) => {
                            copied.insert(wanted.number, letter);
                            continue;
                        }
                        _ => error,
                    },
                };
                return if moved == 0 { Err(error) } else { Ok(moved) };
            }
            let letters = part.iter().filter_map(|wanted| {
                let letters = frames.get(&wanted.place.log_sequence);
                let letter = letters.and_then(|letters| letters.get(wanted.index as usize));
                Some((wanted.number, letter.or_else(|| copied.get(&wanted.number))?))
            });
            let (answers, mut failed) = self.append_all_again(letters);
            drop(frames);
            for (answer, count) in answers {
                match durable(OPERATION, answer).await {
                    Ok(()) => moved += count,
                    Err(error) => failed = Some(error),
                }
            }
            self.namespace().wake();
            match failed {
                None => {}
                Some(error) if moved == 0 => return Err(error),
                // What was moved stays moved; asking again passes it over.
                Some(_) => break,
            }
        }
        Ok(moved)
    }

    /// Where the letters are that go again, in parts of which the frames fit into memory together. Those that
    /// park a key go in one part: a key goes back whole.
    fn wanted(&self, ids: &[DeadLetterId]) -> Result<Vec<Vec<Wanted>>> {
        let view = self.namespace().view.lock();
        let (mut parking, mut parts, mut part) = (Vec::new(), Vec::new(), Vec::<Wanted>::new());
        let mut bytes = 0;
        for number in view.dead.together(ids.iter().filter_map(|id| dead_letter_number(view.incarnation, id))) {
            let Some(dead) = view.dead.get(number).filter(|dead| !dead.moving) else { continue };
            let target = &view.targets[usize::from(dead.target)];
            if target.ended {
                let detail = format!("the target `{}` is not subscribed any more", target.name);
                return Err(Error::new(Kind::UnknownTarget, "queue.redrive", detail));
            }
            let Some(place) = dead.place else { continue };
            let wanted = Wanted { number, place, of: dead.of, index: dead.index };
            if dead.parks.is_some() {
                parking.push(wanted);
                continue;
            }
            if part.last().is_none_or(|before| before.place.log_sequence != place.log_sequence) {
                bytes += place.bytes as usize;
                if bytes > DEAD_FRAME_BYTES_MAX && !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                    bytes = place.bytes as usize;
                }
            }
            part.push(wanted);
        }
        parts.extend([part, parking].into_iter().filter(|part| !part.is_empty()));
        Ok(parts)
    }

    /// All of them under one lock: a key that was parked goes back whole, in order, and before whoever comes
    /// later. In as few frames as they fit; stops at the first that is refused.
    fn append_all_again<'a>(
        &self,
        letters: impl Iterator<Item = (u64, &'a Letter)>,
    ) -> (Vec<(Answer, u64)>, Option<Error>) {
        let mut answers = Vec::new();
        let mut view = self.namespace().view.lock();
        let free = |number: &u64, target: u16| {
            view.dead.get(*number).is_some_and(|dead| !dead.moving) && !view.targets[usize::from(target)].ended
        };
        let mut letters: Vec<_> = letters.filter(|(number, letter)| free(number, letter.target)).collect();
        letters.sort_by_key(|(number, letter)| (letter.target, letter.parks, *number));
        let mut letters = letters.as_slice();
        while let Some(first) = letters.first() {
            let alike =
                |letter: &Letter| letter.target == first.1.target && letter.parks.is_some() == first.1.parks.is_some();
            let mut bytes = 0;
            let count = letters.iter().take(REDRIVE_RECORDS_MAX).take_while(|(_, letter)| {
                bytes += letter.bytes() + letter.attempts.bytes() + limits::FRAME_OVERHEAD_BYTES as usize;
                alike(letter) && (bytes < limits::DEAD_FRAME_BYTES_MAX && self.namespace().shared.log.fits(bytes))
            });
            let (frame, left) = letters.split_at(count.count().max(1));
            match self.append_again(&mut view, frame) {
                Ok(answer) => answers.push((answer, frame.len() as u64)),
                Err(error) => return (answers, Some(error)),
            }
            letters = left;
        }
        (answers, None)
    }

    /// One frame of letters of one target.
    fn append_again(&self, view: &mut View, letters: &[(u64, &Letter)]) -> Result<Answer> {
        let namespace = self.namespace();
        if namespace.is_ending(view) {
            return Err(crate::queue::closed("queue.redrive"));
        }
        let (target, parking) = (letters[0].1.target, letters[0].1.parks.is_some());
        let change = view.next_change;
        let returned = |(number, letter): &(u64, &Letter)| Returned {
            instead: Instead::Letter(*number),
            origin: letter.origin,
            epoch: letter.epoch,
            sequence: letter.sequence,
            appended_at_ms: letter.appended_at_ms,
            number: letter.attempts.list().last().map_or(0, |attempt| attempt.number),
            spent: 0,
            first_spent_at_ms: None,
            due_ms: 0,
            change,
            hash: letter.parks,
            holder: None,
            attempts: letter.attempts.clone(),
        };
        let class = if parking { Class::Behind } else { Class::Ready };
        let again = Again { target, class, records: letters.iter().map(returned).collect() };
        let spans: Vec<Span> =
            letters.iter().map(|(_, letter)| Span::joined(&letter.key, &letter.headers, &letter.value)).collect();
        let (parts, stored) = again::encode(&again, &spans);
        let place = Place { segment: 0, position: 0, bytes: 0, log_sequence: 0 };
        let count = again.records.len() as u32;
        let landed = Landed { first_offset: view.next_offset, count, first_sequence: class.number(), place };
        let draft = FrameDraft {
            kind: frame::AGAIN,
            view: view.number,
            first_offset: landed.first_offset,
            count,
            first_sequence: landed.first_sequence,
            parts,
            urgency: Urgency::Now,
        };
        let (waiter, answer) = oneshot::channel();
        let ticket = Ticket::Again {
            namespace: Arc::clone(namespace),
            landed,
            again: Box::new(again),
            stored: Some(stored),
            waiter: Some(waiter),
        };
        namespace.shared.submit_fact(draft, ticket).map_err(|(why, _)| refused("queue.redrive", why))?;
        view.next_change = change + 1;
        view.given(&landed, true);
        for (number, letter) in letters {
            view.dead.set_moving(*number, true);
            if let Some(hash) = letter.parks
                && let Some(progress) = view.progress(target)
            {
                progress.comes_back(hash, 1);
            }
        }
        Ok(answer)
    }

    pub(crate) async fn remove_letters(&self, ids: &[DeadLetterId]) -> Result<u64> {
        const OPERATION: &str = "queue.purge";
        let namespace = self.namespace();
        let (count, answer) = {
            let mut view = namespace.view.lock();
            let mut numbers: Vec<u64> = ids.iter().filter_map(|id| dead_letter_number(view.incarnation, id)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers.retain(|number| view.dead.get(*number).is_some_and(|dead| !dead.moving));
            if numbers.is_empty() {
                return Ok(0);
            }
            let facts: Vec<Fact> = numbers.iter().map(|dead| Fact::Purged { dead: *dead }).collect();
            (numbers.len() as u64, namespace.shared.apply_durably(OPERATION, namespace, &mut view, &facts)?)
        };
        durable(OPERATION, answer).await?;
        Ok(count)
    }
}

/// Removes the dead letters whose retention has ended, a slice under each lock. Answers how many.
pub(crate) fn expire(namespace: &Arc<Namespace>, now_ms: u64) -> Result<usize> {
    let mut expired = 0;
    let mut left = namespace.view.lock().dead.len();
    for _ in 0..EXPIRED_SLICES_MAX {
        let mut view = namespace.view.lock();
        let Some(retention_ms) = view.policy.as_ref().map(|policy| policy.dlq_retention_ms) else { return Ok(0) };
        let old = view.dead.died_before(now_ms.saturating_sub(retention_ms), EXPIRED_AT_ONCE_MAX);
        let facts: Vec<Fact> = old.iter().map(|dead| Fact::Expired { dead: *dead }).collect();
        namespace.shared.apply_lazily(namespace, &mut view, facts)?;
        parking_lot::MutexGuard::unlock_fair(view);
        expired += old.len();
        // Every letter is looked at once a round at most.
        left = left.saturating_sub(EXPIRED_AT_ONCE_MAX as u64);
        if left == 0 {
            break;
        }
    }
    Ok(expired)
}
