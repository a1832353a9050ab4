//! A snapshot: all facts of all namespaces, but not their records, as of a log sequence number.
//!
//! In: views. Out: bytes, and back. Where frames are is not in it: their heads tell that at every open.

use crate::codec::{Reader, Writer, corrupt};
use crate::dead_letters::DeadLetters;
use crate::frame::append::Delay;
use crate::frame::attempt::Attempts;
use crate::history::History;
use crate::idempotency::Keys;
use crate::progress::{Progress, Tried};
use crate::runs::Runs;
use crate::view::View;
use bytes::Bytes;
use std::collections::BTreeMap;
use walhost_core::queue::Accounting;
use walhost_core::{NamespaceName, Result, TargetName};

/// First bytes of a snapshot of this layout.
const LAYOUT: u8 = 1;

/// The first part: the layout, and the next number of a view.
pub(crate) fn put_head(next_view: u32) -> Bytes {
    let mut writer = Writer::default();
    writer.u8(LAYOUT);
    writer.u32(next_view);
    writer.finish()
}

/// One part for each namespace.
pub(crate) fn put_view(view: &View) -> Bytes {
    let mut writer = Writer::default();
    writer.u32(view.number);
    writer.text(view.name.as_ref().map_or("", NamespaceName::as_str));
    writer.u32(view.incarnation);
    writer.u64(view.applied);
    writer.u64(view.last_sequence);
    writer.u64(view.next_dead);
    writer.u64(view.next_change);
    writer.u64(view.lost);
    writer.u64(view.targets.len() as u64);
    view.targets.iter().for_each(|target| put_progress(&mut writer, target));
    let restricted: Vec<_> = view.extents.restricted().collect();
    writer.u64(restricted.len() as u64);
    for (first_offset, only) in restricted {
        writer.u64(first_offset);
        writer.u32(u32::from(only));
    }
    let delays: Vec<_> = view.extents.delays().collect();
    writer.u64(delays.len() as u64);
    for (first_offset, delay) in delays {
        writer.u64(first_offset);
        writer.u64(delay.due_ms);
        writer.u64(delay.jitter_ms);
    }
    writer.u64(view.moved.len() as u64);
    for ((origin, target), offset) in &view.moved {
        writer.u64(*origin);
        writer.u32(u32::from(*target));
        writer.u64(*offset);
    }
    view.dead.put(&mut writer);
    view.keys.put(&mut writer);
    view.history.put(&mut writer);
    writer.finish()
}

fn put_progress(writer: &mut Writer, progress: &Progress) {
    writer.text(progress.name.as_str());
    writer.flag(progress.ended);
    let counters = &progress.counters;
    for number in [
        counters.accepted,
        counters.delivered,
        counters.dead,
        counters.pending,
        counters.filtered,
        counters.purged,
        counters.expired,
        counters.cancelled,
    ] {
        writer.u64(number);
    }
    writer.u64(progress.settled.floor());
    writer.u64(progress.settled.count() as u64);
    let mut at = progress.settled.floor();
    for (start, end) in progress.settled.above() {
        writer.u64(start - at);
        writer.u64(end - start);
        at = end;
    }
    writer.u64(progress.tried.len() as u64);
    for (offset, tried) in &progress.tried {
        writer.u64(*offset);
        writer.u32(tried.number);
        writer.u32(tried.spent);
        writer.option(tried.first_spent_at_ms);
        writer.u64(tried.due_ms);
        writer.u64(tried.change);
        writer.flag(tried.by_time);
        tried.attempts.put(writer);
    }
}

fn get_progress(reader: &mut Reader<'_>) -> Result<Progress> {
    let name = TargetName::new(reader.text()?).map_err(|_| corrupt("name of a target"))?;
    let ended = reader.flag()?;
    let counters = Accounting {
        accepted: reader.u64()?,
        delivered: reader.u64()?,
        dead: reader.u64()?,
        pending: reader.u64()?,
        filtered: reader.u64()?,
        purged: reader.u64()?,
        expired: reader.u64()?,
        cancelled: reader.u64()?,
    };
    let floor = reader.u64()?;
    let mut progress = Progress::new(name, floor);
    (progress.ended, progress.counters, progress.settled) = (ended, counters, Runs::from_floor(floor));
    let mut at = floor;
    for _ in 0..reader.count()? {
        let start = at.checked_add(reader.u64()?).ok_or_else(|| corrupt("run"))?;
        let end = start.checked_add(reader.u64()?).ok_or_else(|| corrupt("run"))?;
        progress.settled.insert_range(start, end);
        at = end;
    }
    for _ in 0..reader.count()? {
        let offset = reader.u64()?;
        let tried = Tried {
            number: reader.u32()?,
            spent: reader.u32()?,
            first_spent_at_ms: reader.option()?,
            due_ms: reader.u64()?,
            change: reader.u64()?,
            by_time: reader.flag()?,
            waiting: false,
            attempts: Attempts::get(reader)?,
        };
        progress.tried.insert(offset, tried);
    }
    Ok(progress)
}

/// Reads a whole snapshot: the next number of a view, and the views.
pub(crate) fn get(bytes: &[u8]) -> Result<(u32, BTreeMap<u32, View>)> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != LAYOUT {
        return Err(corrupt("layout of a snapshot"));
    }
    let next_view = reader.u32()?;
    let mut views = BTreeMap::new();
    while !reader.is_empty() {
        let view = get_view(&mut reader)?;
        views.insert(view.number, view);
    }
    Ok((next_view, views))
}

fn get_view(reader: &mut Reader<'_>) -> Result<View> {
    let number = reader.u32()?;
    let name = reader.text()?;
    let name = if name.is_empty() {
        None
    } else {
        Some(NamespaceName::new(name).map_err(|_| corrupt("name of a namespace"))?)
    };
    let mut view = View::new(number, name, reader.u32()?);
    view.replaying = true;
    view.applied = reader.u64()?;
    view.next_offset = view.applied;
    view.last_sequence = reader.u64()?;
    view.next_dead = reader.u64()?;
    view.next_change = reader.u64()?;
    view.lost = reader.u64()?;
    for _ in 0..reader.count()? {
        view.targets.push(get_progress(reader)?);
    }
    for _ in 0..reader.count()? {
        let first_offset = reader.u64()?;
        view.extents.restrict(first_offset, reader.u16()?);
    }
    for _ in 0..reader.count()? {
        let first_offset = reader.u64()?;
        view.extents.delay(first_offset, Delay { due_ms: reader.u64()?, jitter_ms: reader.u64()? });
    }
    for _ in 0..reader.count()? {
        let (origin, target, offset) = (reader.u64()?, reader.u16()?, reader.u64()?);
        view.moved.insert((origin, target), offset);
        view.origins.insert(offset, origin);
    }
    view.dead = DeadLetters::read(reader)?;
    view.keys = Keys::get(reader)?;
    view.history = History::get(reader)?;
    Ok(view)
}
