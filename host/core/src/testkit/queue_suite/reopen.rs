//! Sentences about what survives a close and a crash.

use super::{Harness, Rig, batch, sentences, target, values};
use crate::batch::Idempotency;
use crate::inspect::State;
use crate::queue::{Capability, From};

sentences! {
    durable => i01_what_was_appended_survives_a_crash,
    durable => settlements_survive_a_close,
    durable => i16_a_dead_letter_survives_a_crash_at_once,
    |c| c.durable && c.attempts_durable => i14_attempts_and_due_times_survive_a_crash,
    |c| c.durable && c.cancel => cancels_and_new_due_times_survive_a_crash,
    |c| c.durable && c.accounting_durable => i12_the_counters_survive_a_crash,
    |c| c.durable && c.idempotency => i23_idempotency_keys_survive_a_crash,
    |c| c.durable && c.ordered => order_by_key_survives_a_crash,
    durable => redrives_and_purges_survive_a_crash,
    durable => the_end_of_a_subscription_survives_a_crash,
}

fn durable(capability: &Capability) -> bool {
    capability.durable
}

/// Long enough for everything lazy to be on disk.
const SAVED_MS: u64 = 200;

/// The same queue after a crash or a close; `None` where the harness cannot.
fn again<'a>(rig: Rig<'a>, crashed: bool) -> Option<Rig<'a>> {
    if !crashed {
        rig.get(rig.queue.close());
    }
    let Rig { harness, queue } = rig;
    harness.reopen(queue, crashed).map(|queue| Rig { harness, queue })
}

fn i01_what_was_appended_survives_a_crash(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    let ids = rig.append(&[("k", "1"), ("", "2")]);
    let due = rig.append_due("3", harness.now_ms() + 5_000);
    let Some(rig) = again(rig, true) else { return };
    let sub = rig.sub("a");
    let leases = rig.take(&sub, 2);
    assert_eq!((values(&leases), &leases[0].record.id, &leases[1].record.id), (vec!["1", "2"], &ids[0], &ids[1]));
    rig.none(&sub);
    harness.advance(5_000);
    assert_eq!(rig.take_one(&sub).record.id, due);
    let new = rig.append(&[("", "4")]).remove(0);
    assert!(!ids.contains(&new) && new != due, "no id is given twice");
}

fn settlements_survive_a_close(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2"), ("", "3")]);
    let leases = rig.take(&sub, 2);
    rig.done(&sub, &leases[0]);
    let Some(rig) = again(rig, false) else { return };
    let sub = rig.sub("a");
    assert_eq!(values(&rig.take(&sub, 2)), ["2", "3"], "what was settled is settled, what was leased is free");
    rig.none(&sub);
    assert_eq!(rig.accounting("a").delivered, 1);
}

fn i16_a_dead_letter_survives_a_crash_at_once(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let id = rig.append(&[("", "1")]).remove(0);
    rig.dead(&sub, &rig.take_one(&sub), "bad", None);
    let Some(rig) = again(rig, true) else { return };
    let sub = rig.sub("a");
    rig.none(&sub);
    let letters = rig.letters();
    assert_eq!((letters.len(), &letters[0].record, letters[0].last.code.as_str()), (1, &id, "bad"));
}

fn i14_attempts_and_due_times_survive_a_crash(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    let first_spent_at_ms = harness.now_ms();
    rig.retry(&sub, &rig.take_one(&sub), 10_000);
    harness.advance(SAVED_MS);
    let Some(rig) = again(rig, true) else { return };
    let sub = rig.sub("a");
    harness.advance(10_000 - SAVED_MS - 1);
    rig.none(&sub);
    harness.advance(1);
    let lease = rig.take_one(&sub);
    assert_eq!((lease.record.attempt, lease.spent, lease.first_spent_at_ms), (2, 1, Some(first_spent_at_ms)));
}

fn cancels_and_new_due_times_survive_a_crash(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    let ids = rig.append(&[("", "1"), ("", "2")]);
    let due = rig.append_due("3", harness.now_ms() + 100_000);
    rig.get(rig.queue.cancel(&ids[0]));
    rig.get(rig.queue.reschedule(&due, harness.now_ms() + 1_000));
    let Some(rig) = again(rig, true) else { return };
    let sub = rig.sub("a");
    rig.is(&ids[0], "a", State::Cancelled);
    assert_eq!(values(&rig.take(&sub, 1)), ["2"]);
    rig.none(&sub);
    harness.advance(1_000);
    assert_eq!(values(&rig.take(&sub, 1)), ["3"]);
}

fn i12_the_counters_survive_a_crash(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2"), ("", "3"), ("", "4")]);
    let leases = rig.take(&sub, 2);
    rig.done(&sub, &leases[0]);
    rig.dead(&sub, &leases[1], "bad", None);
    harness.advance(SAVED_MS);
    let before = rig.accounting("a");
    let Some(rig) = again(rig, true) else { return };
    rig.sub("a");
    assert_eq!(rig.accounting("a"), before);
}

fn i23_idempotency_keys_survive_a_crash(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    let keyed = |value| {
        let mut batch = batch(&[("", value)]);
        batch.idempotency = Some(Idempotency { key: [7; 16], content: [7; 16] });
        batch
    };
    let first = rig.get(rig.queue.append(keyed("1")));
    let Some(rig) = again(rig, true) else { return };
    let second = rig.get(rig.queue.append(keyed("1")));
    assert_eq!((second.deduplicated, second.ids), (true, first.ids));
}

fn order_by_key_survives_a_crash(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    rig.append(&[("k", "1"), ("k", "2")]);
    rig.retry(&sub, &rig.take_one(&sub), 120_000);
    harness.advance(SAVED_MS);
    let Some(rig) = again(rig, true) else { return };
    let sub = rig.sub("a");
    rig.none(&sub);
    harness.advance(120_000);
    assert_eq!(values(&rig.take(&sub, 1)), ["1"]);
    rig.none(&sub);
}

fn redrives_and_purges_survive_a_crash(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2"), ("", "3")]);
    let leases = rig.take(&sub, 3);
    leases.iter().for_each(|lease| rig.dead(&sub, lease, "bad", None));
    let letters = rig.letters();
    rig.get(rig.queue.redrive(&[letters[0].id.clone()]));
    rig.get(rig.queue.purge(&[letters[1].id.clone()]));
    let Some(rig) = again(rig, true) else { return };
    let sub = rig.sub("a");
    let lease = rig.take_one(&sub);
    assert_eq!((values(std::slice::from_ref(&lease)), lease.record.attempt, lease.spent), (vec!["1"], 2, 0));
    assert_eq!(rig.letters().len(), 1);
}

fn the_end_of_a_subscription_survives_a_crash(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    rig.append(&[("", "1")]);
    rig.get(rig.queue.unsubscribe(&target("a")));
    let Some(rig) = again(rig, true) else { return };
    let sub = rig.get(rig.queue.subscribe(&target("a"), From::Latest));
    rig.none(&sub);
    assert_eq!(rig.append(&[("", "2")]).len(), 1);
    assert_eq!(values(&rig.take(&sub, 1)), ["2"]);
}
