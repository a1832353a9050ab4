//! Decides what counts: the newest epoch with a fence that holds, the segments that it lists, where the
//! proven part of the last one ends, and what of the rest is to be copied.
//!
//! In: a survey. Out: a verdict; nothing is changed.

use super::survey::{Survey, Surveyed};
use crate::format::{
    DATA_START, HEAD_BYTES, KIND_FENCE, KIND_RELEASE, KIND_ROSTER, KIND_TRAILER, Roster, RosterRow, SECTOR_BYTES,
};
use crate::frame::{FrameHead, KIND_RESERVED_FROM, Place};
use crate::replay::{Damage, DamageKind};
use crate::scan::{Found, Gap, gaps, read_footer, scan};
use crate::segment::{Range, ReadFault, Segment};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// What an open goes by.
#[derive(Default)]
pub(crate) struct Verdict {
    /// Segments with frames that count where they are, in log order; their ranges say which.
    pub(crate) live: Vec<Arc<Segment>>,
    /// Frames that count but are not proven durable where they are.
    pub(crate) copies: Vec<(FrameHead, Bytes)>,
    /// Where these are: the last segment, and their positions.
    pub(crate) copied_from: Vec<Place>,
    /// The last log sequence number that counts where it is.
    pub(crate) last_counting: u64,
    /// The largest log sequence number seen.
    pub(crate) sequence_max: u64,
    pub(crate) epoch_max: u32,
    pub(crate) segment_max: u64,
    /// Files that nothing needs, whatever comes.
    pub(crate) spare_now: Vec<Arc<Segment>>,
    /// Files that nothing needs once the next fence is durable.
    pub(crate) spare_later: Vec<Arc<Segment>>,
    pub(crate) damage: Vec<Damage>,
    /// Frames of the torn tail.
    pub(crate) torn_frames: u64,
    /// The last process has closed the log, or there was none.
    pub(crate) clean: bool,
}

/// A segment's frames, all of them.
pub(crate) struct Contents {
    pub(crate) found: Vec<Found>,
    bytes: Vec<u8>,
    /// The last log sequence number that its footer lists, when it has one.
    pub(crate) sealed: Option<u64>,
    /// True when the log was closed with that footer.
    closing: bool,
}

pub(crate) fn judge(survey: &Survey) -> io::Result<Verdict> {
    let mut verdict = Verdict { clean: true, ..Verdict::default() };
    let mut unused: BTreeSet<u64> = BTreeSet::new();
    let mut epochs: BTreeSet<u32> = BTreeSet::new();
    for surveyed in &survey.segments {
        match &surveyed.first {
            Some(first) => drop(epochs.insert(first.head.epoch)),
            None => drop(unused.insert(surveyed.segment.id())),
        }
    }
    verdict.epoch_max = epochs.last().copied().unwrap_or(0);
    for epoch in epochs.into_iter().rev() {
        let segments: Vec<&Surveyed> = survey.segments.iter().filter(|s| epoch_of(s) == Some(epoch)).collect();
        let last = segments.last().expect("an epoch was seen in a segment");
        let contents = contents(&last.segment)?;
        let seen = contents.found.iter().map(|frame| frame.head.log_sequence).max().unwrap_or(0);
        // The footer itself and its trailer come after the rows.
        verdict.sequence_max = verdict.sequence_max.max(seen).max(contents.sealed.map_or(0, |last| last + 2));
        let commits = contents.found.iter().map(|frame| frame.head.commit).max().unwrap_or(0);
        // A later commit proves the fence; else all of its copies must be there.
        let proven = segments.len() > 1 || commits > 1;
        if proven || fence_holds(&contents.found) {
            verdict.clean = contents.closing;
            verdict.judge_epoch(survey, &segments, &contents, proven)?;
            break;
        }
        unused.extend(segments.iter().map(|s| s.segment.id()));
    }
    // A file that cannot be read may have been the last one.
    verdict.clean &= survey.unreadable.is_empty();
    for surveyed in &survey.segments {
        // A list may name one whose heads are all gone: it is damaged, and not to be overwritten.
        let id = surveyed.segment.id();
        if unused.contains(&id) && !verdict.live.iter().any(|live| live.id() == id) {
            verdict.spare_now.push(Arc::clone(&surveyed.segment));
        }
    }
    Ok(verdict)
}

fn epoch_of(surveyed: &Surveyed) -> Option<u32> {
    surveyed.first.as_ref().map(|first| first.head.epoch)
}

/// All frames of a segment: by its footer when it has one.
pub(crate) fn contents(segment: &Segment) -> io::Result<Contents> {
    if let Some(footer) = read_footer(segment)? {
        let rows = &footer.rows;
        let found: Vec<Found> =
            rows.iter().map(|row| Found { head: row.head, position: row.position, intact: true }).collect();
        let sealed = rows.last().map(|row| row.head.log_sequence);
        return Ok(Contents { found, bytes: Vec::new(), sealed, closing: footer.closing });
    }
    let bytes = segment.read_up_to(segment.bytes)?;
    let found = scan(&bytes, segment.header.salt);
    Ok(Contents { found, bytes, sealed: None, closing: false })
}

/// Whether one of the fence's two copies is intact, and all frames that it copied are.
fn fence_holds(found: &[Found]) -> bool {
    let Some(fence) = found.iter().find(|frame| frame.head.kind == KIND_FENCE && frame.intact) else {
        return false;
    };
    let copies = fence.head.first_sequence + 1..=fence.head.first_sequence + u64::from(fence.head.count);
    let held = found.iter().filter(|frame| frame.intact && copies.contains(&frame.head.log_sequence)).count();
    held == fence.head.count as usize
}

/// The list that a segment begins with: its head, and what is in it.
fn list_of(segment: &Segment) -> io::Result<Option<(FrameHead, Roster)>> {
    let is_list = |head: &FrameHead| [KIND_FENCE, KIND_ROSTER].contains(&head.kind);
    let mut candidates = Vec::new();
    let mut head = [0; HEAD_BYTES];
    let count = crate::segment::read_full(&*segment.file, &mut head, u64::from(DATA_START))?;
    match crate::format::ReadHead::decode(&head[..count], segment.header.salt, DATA_START) {
        Some(read) if is_list(&read.head) => {
            candidates.push(Found { head: read.head, position: DATA_START, intact: true });
        }
        _ => {}
    }
    for searched in [false, true] {
        if searched {
            let all = scan(&segment.read_up_to(segment.bytes)?, segment.header.salt);
            candidates.extend(all.into_iter().filter(|frame| is_list(&frame.head)));
        }
        for frame in candidates.drain(..) {
            match segment.read(frame.place(segment.id())) {
                Ok((head, body)) => {
                    if let Some(roster) = Roster::decode(&body) {
                        return Ok(Some((head, roster)));
                    }
                }
                Err(ReadFault::Disk(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }
    Ok(None)
}

impl Verdict {
    fn judge_epoch(
        &mut self,
        survey: &Survey,
        segments: &[&Surveyed],
        last: &Contents,
        proven: bool,
    ) -> io::Result<()> {
        // The newest list; later segments of the epoch count too.
        let mut rows: Option<Vec<RosterRow>> = None;
        let mut firsts = Vec::new();
        for surveyed in segments.iter().rev() {
            let list = list_of(&surveyed.segment)?;
            let seen = surveyed.first.as_ref().map_or(0, |first| first.head.log_sequence);
            firsts.push((*surveyed, list.as_ref().map_or(seen, |(head, _)| head.first_sequence)));
            if let Some((_, roster)) = list {
                rows = Some(roster.0);
                break;
            }
        }
        firsts.reverse();
        let epoch = epoch_of(segments[0]);
        let rows = match rows {
            Some(rows) => rows,
            None => {
                // Neither copy of any list is left: then everything older counts, up to what was copied.
                self.damage.push(no_list(&segments[0].segment));
                let copied = contents(&segments[0].segment)?.found.into_iter().map(|frame| frame.head);
                let copied = copied.filter(|head| head.origin < head.log_sequence).map(|head| head.origin).min();
                let last = copied.map_or(u64::MAX, |first| first.saturating_sub(1));
                let older = survey.segments.iter().filter(|s| epoch_of(s).is_some() && epoch_of(s) < epoch);
                let older = older.map(everything).map(|row| RosterRow { last: row.last.min(last), ..row });
                older.filter(|row| row.first <= row.last).collect()
            }
        };
        self.segment_max = rows.iter().map(|row| row.segment).max().unwrap_or(0);
        self.sequence_max = rows.iter().map(|row| row.last).fold(self.sequence_max, u64::max);

        let (active, first) = *firsts.last().expect("an epoch has a segment");
        let tail = Tail::of(last, first, active.segment.bytes);
        self.last_counting = tail.proven;
        self.torn_frames = tail.torn;
        let (mut released, mut released_unproven) = (BTreeSet::new(), BTreeSet::new());
        for (at, (surveyed, _)) in firsts.iter().enumerate() {
            if at + 1 < firsts.len() {
                let older = contents(&surveyed.segment)?;
                released.extend(releases(&older.found));
            }
        }
        let (before, after): (Vec<Found>, Vec<Found>) =
            last.found.iter().partition(|frame| frame.head.log_sequence <= tail.proven);
        released.extend(releases(&before));
        released_unproven.extend(releases(&after));

        let mut kept = BTreeSet::new();
        for row in &rows {
            if released.contains(&row.segment) {
                continue;
            }
            let range = Range { first: row.first, last: row.last, end: row.end, sealed: true, given_up: false };
            self.count(survey, row.segment, range, &released_unproven, &mut kept);
        }
        for (at, (surveyed, first)) in firsts.iter().enumerate() {
            let id = surveyed.segment.id();
            let (last, end) = match firsts.get(at + 1) {
                Some((_, next)) => (next - 1, surveyed.segment.bytes),
                None => (tail.proven, tail.end),
            };
            kept.insert(id);
            if !released.contains(&id) && last >= *first {
                let range = Range { first: *first, last, end, sealed: true, given_up: false };
                self.count(survey, id, range, &released_unproven, &mut kept);
            } else {
                self.spare_later.push(Arc::clone(&surveyed.segment));
            }
        }
        self.live.sort_by_key(|segment| segment.range().first);
        for frame in after.iter().filter(|frame| frame.intact && frame.head.kind < KIND_RESERVED_FROM) {
            let body = &last.bytes[frame.position as usize + HEAD_BYTES..frame.end() as usize];
            self.copies.push((frame.head, Bytes::copy_from_slice(body)));
            self.copied_from.push(frame.place(active.segment.id()));
        }
        // Older ones that are not listed: void, or given back.
        for surveyed in survey.segments.iter().filter(|s| epoch_of(s).is_some() && epoch_of(s) <= epoch) {
            if !kept.contains(&surveyed.segment.id()) {
                let spare = if proven { &mut self.spare_now } else { &mut self.spare_later };
                spare.push(Arc::clone(&surveyed.segment));
            }
        }
        Ok(())
    }

    /// One segment that must be there.
    fn count(&mut self, survey: &Survey, id: u64, range: Range, unproven: &BTreeSet<u64>, kept: &mut BTreeSet<u64>) {
        kept.insert(id);
        let found = survey.segments.iter().find(|s| s.segment.id() == id);
        match found {
            // Its release is not proven: the next fence does without it, and only then may it go.
            Some(surveyed) if unproven.contains(&id) => self.spare_later.push(Arc::clone(&surveyed.segment)),
            Some(surveyed) => {
                surveyed.segment.set_range(range);
                self.live.push(Arc::clone(&surveyed.segment));
            }
            None if unproven.contains(&id) => {}
            None => self.damage.push(Damage {
                kind: DamageKind::Segment,
                segment: id,
                file: String::new(),
                from: 0,
                until: u64::from(range.end),
                first: range.first,
                last: range.last,
                heads: Vec::new(),
            }),
        }
    }

    /// A bug on purpose: everything behind the first damage is dropped.
    #[cfg(any(test, feature = "planted"))]
    pub(crate) fn truncated(mut self) -> Verdict {
        let mut cut = None;
        for segment in &self.live {
            let range = segment.range();
            if cut.is_some() {
                segment.set_range(Range { last: range.first - 1, ..range });
                continue;
            }
            let bytes = segment.read_up_to(range.end).unwrap_or_default();
            let missing = gaps(&scan(&bytes, segment.header.salt), Some(range.first), Some(range.last), range.end);
            if let Some(gap) = missing.first() {
                segment.set_range(Range { last: gap.first - 1, ..range });
                cut = Some(gap.first - 1);
            }
        }
        if let Some(cut) = cut {
            self.live.retain(|segment| segment.range().last >= segment.range().first);
            self.copies.clear();
            self.last_counting = cut;
        }
        self
    }
}

/// Segments that these frames give back.
fn releases(found: &[Found]) -> impl Iterator<Item = u64> {
    found.iter().filter(|frame| frame.head.kind == KIND_RELEASE && frame.intact).map(|frame| frame.head.first_offset)
}

fn everything(surveyed: &Surveyed) -> RosterRow {
    let segment = &surveyed.segment;
    let first = surveyed.first.as_ref().map_or(1, |first| first.head.log_sequence);
    let found = contents(segment).map(|contents| contents.found).unwrap_or_default();
    let last = found.last().map_or(first, |frame| frame.head.log_sequence);
    RosterRow { segment: segment.id(), first, last, end: segment.bytes }
}

fn no_list(segment: &Segment) -> Damage {
    Damage {
        kind: DamageKind::Bookkeeping,
        segment: segment.id(),
        file: segment.name.clone(),
        from: u64::from(DATA_START),
        until: u64::from(DATA_START) + SECTOR_BYTES as u64,
        first: 0,
        last: 0,
        heads: Vec::new(),
    }
}

/// Where the proven part of the last segment ends.
struct Tail {
    proven: u64,
    /// The byte after its last proven frame.
    end: u32,
    torn: u64,
}

impl Tail {
    /// I5: past the last proven point, in the last commit that has left a trace, what is missing is torn;
    /// everything else that is missing is damage, and counts as proven.
    fn of(contents: &Contents, first: u64, bytes: u32) -> Tail {
        if let Some(sealed) = contents.sealed {
            // What a footer lists was durable before it; of the footer itself nobody knows.
            let end = contents.found.last().map_or(bytes, Found::end);
            return Tail { proven: sealed, end, torn: 0 };
        }
        let found = &contents.found;
        // Heads are evidence even when their bodies are not intact.
        let newest = found.iter().map(|frame| frame.head.commit).max().unwrap_or(0);
        let trailers = found.iter().filter(|frame| frame.head.kind == KIND_TRAILER);
        let named = trailers.clone().map(|trailer| trailer.head.first_offset).max().unwrap_or(0);
        let exact = trailers.clone().any(|trailer| trailer.head.commit == newest);
        let older = found.iter().filter(|frame| frame.head.commit < newest);
        let mut proven = older.map(|frame| frame.head.log_sequence).max().unwrap_or(first - 1).max(named);
        let missing = gaps(found, Some(first), None, bytes);
        if !exact {
            let damaged = missing.iter().filter(|gap| gap.last > proven && !may_be_torn(gap, newest));
            proven = damaged.map(|gap| gap.last).max().unwrap_or(proven).max(proven);
        }
        let cut = missing.iter().filter(|gap| gap.last > proven);
        let torn = cut.map(|gap| gap.last - gap.first.max(proven + 1) + 1).sum::<u64>();
        let ended = found.last().is_none_or(|frame| frame.head.kind == KIND_TRAILER);
        let end = found.iter().filter(|frame| frame.head.log_sequence <= proven).map(Found::end).max();
        Tail { proven, end: end.unwrap_or(DATA_START), torn: torn + u64::from(!ended) }
    }
}

/// Whether all that is missing belongs to the newest commit.
fn may_be_torn(gap: &Gap, newest: u64) -> bool {
    gap.commit_min == newest || (gap.ended && gap.commit_min + 1 == newest)
}
