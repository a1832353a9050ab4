//! Sentences about dead letters: list, groups, get, redrive, purge, retention.

use super::{Harness, Rig, always, policy, sentences, target, values};
use crate::attempt::Exhausted;
use crate::error::Kind;
use crate::inspect::{DeadLetterFilter, DeadLetterId};
use crate::queue::QueuePolicy;

sentences! {
    always => a_dead_letter_tells_why_and_keeps_the_original_record,
    always => dead_letters_are_listed_oldest_first_page_by_page,
    always => every_part_of_a_filter_must_match,
    always => groups_count_by_code_and_target_the_largest_first,
    always => i17_redriving_keeps_the_id_goes_on_counting_and_begins_a_new_budget,
    always => i17_redriving_a_dead_letter_twice_moves_it_once,
    always => redriving_for_a_target_that_is_gone_is_refused,
    always => purging_removes_for_good_and_counts,
    always => dead_letters_expire_after_their_retention,
    always => a_dead_letter_that_is_not_there_is_none,
}

fn a_dead_letter_tells_why_and_keeps_the_original_record(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let id = rig.append(&[("k", "value")]).remove(0);
    let appended_at_ms = harness.now_ms();
    rig.retry(&sub, &rig.take_one(&sub), 1_000);
    harness.advance(1_000);
    rig.dead(&sub, &rig.take_one(&sub), "timeout", Some(Exhausted::Age));
    let letter = rig.letters().remove(0);
    assert_eq!((&letter.record, &letter.target, letter.exhausted), (&id, &target("a"), Some(Exhausted::Age)));
    assert_eq!((letter.last.number, letter.last.code.as_str()), (2, "timeout"));
    assert_eq!((letter.appended_at_ms, letter.dead_at_ms), (appended_at_ms, harness.now_ms()));
    let detail = rig.get(rig.queue.dead_letter(&letter.id)).expect("it is listed");
    assert_eq!((&detail.record.value[..], detail.record.key.as_deref()), (b"value".as_slice(), Some(b"k".as_slice())));
    assert_eq!(detail.record.headers.text("content-type"), Some("text/plain"));
    let codes: Vec<_> = detail.attempts.iter().map(|attempt| (attempt.number, attempt.code.as_str())).collect();
    assert_eq!(codes, [(1, "http-500"), (2, "timeout")]);
    assert_eq!(detail.letter, letter);
}

/// Six dead letters: a dies of `x`, `y`, `x`, b of `x`, `x`, `x`, one a second.
fn six(harness: &dyn Harness) -> Rig<'_> {
    let rig = Rig::new(harness);
    let (a, b) = (rig.sub("a"), rig.sub("b"));
    rig.append(&[("", "1"), ("", "2"), ("", "3")]);
    for (sub, code) in [(&a, "x"), (&a, "y"), (&a, "x"), (&b, "x"), (&b, "x"), (&b, "x")] {
        harness.advance(1_000);
        rig.dead(sub, &rig.take_one(sub), code, None);
    }
    rig
}

fn dead_letters_are_listed_oldest_first_page_by_page(harness: &dyn Harness) {
    let rig = six(harness);
    let (mut cursor, mut times, mut pages) = (None::<String>, Vec::new(), 0);
    loop {
        let page = rig.get(rig.queue.dead_letters(&DeadLetterFilter::default(), cursor.as_deref(), 4));
        assert!(page.items.len() <= 4);
        times.extend(page.items.iter().map(|letter| letter.dead_at_ms));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() || pages > 5 {
            break;
        }
    }
    assert_eq!(times.len(), 6);
    assert!(times.is_sorted_by(|a, b| a < b));
}

fn every_part_of_a_filter_must_match(harness: &dyn Harness) {
    let rig = six(harness);
    let count = |filter: DeadLetterFilter| rig.get(rig.queue.dead_letters(&filter, None, 100)).items.len();
    let all = rig.letters();
    let base = DeadLetterFilter::default;
    assert_eq!(count(DeadLetterFilter { target: Some(target("a")), ..base() }), 3);
    assert_eq!(count(DeadLetterFilter { code: Some("x".into()), ..base() }), 5);
    assert_eq!(count(DeadLetterFilter { target: Some(target("a")), code: Some("x".into()), ..base() }), 2);
    assert_eq!(
        count(DeadLetterFilter { since_ms: Some(all[2].dead_at_ms), until_ms: Some(all[5].dead_at_ms), ..base() }),
        3
    );
    assert_eq!(count(DeadLetterFilter { ids: Some(vec![all[0].id.clone(), all[4].id.clone()]), ..base() }), 2);
    assert_eq!(count(DeadLetterFilter { code: Some("z".into()), ..base() }), 0);
}

fn groups_count_by_code_and_target_the_largest_first(harness: &dyn Harness) {
    let rig = six(harness);
    let groups = rig.get(rig.queue.dead_letter_groups());
    let seen: Vec<_> = groups.iter().map(|group| (group.target.as_str(), group.code.as_str(), group.count)).collect();
    assert_eq!(seen, [("b", "x", 3), ("a", "x", 2), ("a", "y", 1)]);
    assert!(groups[0].oldest_at_ms < groups[0].newest_at_ms && groups[2].oldest_at_ms == groups[2].newest_at_ms);
}

fn i17_redriving_keeps_the_id_goes_on_counting_and_begins_a_new_budget(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let id = rig.append(&[("", "1")]).remove(0);
    rig.retry(&sub, &rig.take_one(&sub), 0);
    rig.dead(&sub, &rig.take_one(&sub), "bad", None);
    let letter = rig.letters().remove(0);
    assert_eq!(rig.get(rig.queue.redrive(&[letter.id])), 1);
    let accounting = rig.accounting("a");
    assert_eq!((accounting.accepted, accounting.pending, accounting.dead), (1, 1, 0), "pending again, accepted once");
    let lease = rig.take_one(&sub);
    assert_eq!((&lease.record.id, lease.record.attempt), (&id, 3));
    assert_eq!((lease.spent, lease.first_spent_at_ms), (0, None));
    rig.dead(&sub, &lease, "worse", None);
    let letter = rig.letters().remove(0);
    let attempts = rig.get(rig.queue.dead_letter(&letter.id)).expect("it is listed").attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3], "the history stays");
}

fn i17_redriving_a_dead_letter_twice_moves_it_once(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    rig.dead(&sub, &rig.take_one(&sub), "bad", None);
    let id = rig.letters().remove(0).id;
    assert_eq!(rig.get(rig.queue.redrive(std::slice::from_ref(&id))), 1);
    assert_eq!(rig.get(rig.queue.redrive(&[id.clone(), id])), 0);
    assert_eq!(values(&rig.take(&sub, 1)), ["1"]);
    rig.none(&sub);
}

fn redriving_for_a_target_that_is_gone_is_refused(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.sub("b");
    rig.append(&[("", "1")]);
    rig.dead(&sub, &rig.take_one(&sub), "bad", None);
    let id = rig.letters().remove(0).id;
    rig.get(rig.queue.unsubscribe(&target("a")));
    rig.refused(Kind::UnknownTarget, rig.queue.redrive(&[id]));
    assert_eq!(rig.letters().len(), 1, "it stays where it is");
}

fn purging_removes_for_good_and_counts(harness: &dyn Harness) {
    let rig = six(harness);
    let ids: Vec<DeadLetterId> = rig.letters().into_iter().map(|letter| letter.id).collect();
    assert_eq!(rig.get(rig.queue.purge(&ids[..2])), 2);
    assert_eq!(rig.get(rig.queue.purge(&ids[..3])), 1, "two were gone");
    assert_eq!(rig.letters().len(), 3);
    assert_eq!(rig.get(rig.queue.redrive(&ids[..1])), 0);
    let accounting = rig.accounting("a");
    assert_eq!((accounting.purged, accounting.dead), (3, 0));
}

fn dead_letters_expire_after_their_retention(harness: &dyn Harness) {
    let rig = Rig::with(harness, &QueuePolicy { dlq_retention_ms: 10_000, ..policy() });
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    rig.dead(&sub, &rig.take_one(&sub), "bad", None);
    harness.advance(9_000);
    assert_eq!(rig.letters().len(), 1);
    harness.advance(120_000);
    assert!(rig.letters().is_empty());
    let accounting = rig.accounting("a");
    assert_eq!((accounting.expired, accounting.dead), (1, 0));
}

fn a_dead_letter_that_is_not_there_is_none(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    for text in ["", "nothing", "1", "a/b", "a.1.2.3"] {
        let id = DeadLetterId(text.to_owned());
        assert_eq!(rig.get(rig.queue.dead_letter(&id)), None, "{text}");
        assert_eq!(
            rig.get(rig.queue.redrive(std::slice::from_ref(&id))) + rig.get(rig.queue.purge(&[id])),
            0,
            "{text}"
        );
    }
}
