//! A seeded random run of one worker with everything going wrong, and the checker behind it.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use walhost_core::testkit::scripted::{fault, record_failure, target_failure, throttle};
use walhost_core::testkit::{Checker, ScriptedTransform};
use walhost_core::transform::Output;
use walhost_core::{Outcome, Verdict};

/// How often each thing happened: a run in which nothing went wrong proves nothing.
#[derive(Default, Debug)]
struct Happened {
    down: AtomicU64,
    failed: AtomicU64,
    throttled: AtomicU64,
    faults: AtomicU64,
    swaps: AtomicU64,
    restarts: AtomicU64,
    refused: AtomicU64,
    redriven: AtomicU64,
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

/// Outputs that arrived: a record that was split has arrived when all of its parts have.
#[derive(Default)]
struct Arrivals(BTreeMap<String, BTreeSet<String>>);

const PARTS: usize = 3;

impl Arrivals {
    fn arrived(&mut self, record: &walhost_core::Record, checker: &Checker) {
        let Some((id, part)) = record.id.as_str().split_once('.') else { return checker.delivered(record) };
        let parts = self.0.entry(id.to_owned()).or_default();
        parts.insert(part.to_owned());
        if parts.len() == PARTS {
            self.0.remove(id);
            checker.delivered(&walhost_core::Record { id: RecordId::new(id), ..record.clone() });
        }
    }
}

fn splits() -> ScriptedTransform {
    ScriptedTransform::each(|record| {
        let output =
            || Output { key: record.key.clone(), headers: record.headers.clone(), value: record.value.clone() };
        Outcome::Emit((0..PARTS).map(|_| output()).collect())
    })
}

/// A target that is now and then down, slow, broken or picky, by its own dice.
fn moody(seed: u64, clock: &Arc<SimClock>, checker: &Arc<Checker>, happened: &Arc<Happened>) -> Arc<Scripted> {
    let (dice, clock, checker, happened) = (Random::seeded(seed), clock.clone(), checker.clone(), happened.clone());
    let mut arrivals = Arrivals::default();
    let target = Scripted::calls_answered({
        let clock = clock.clone();
        move |records| {
            let down = (clock.monotonic().as_secs() / 5) % 3 == 2;
            if !down && dice.below(20) == 0 {
                count(&happened.faults);
                return Err(fault("plugin-trap"));
            }
            let verdict = |record: &walhost_core::Record| match dice.below(100) {
                _ if down => {
                    count(&happened.down);
                    target_failure("connect")
                }
                0..8 => {
                    count(&happened.failed);
                    record_failure("http-500")
                }
                8..10 => {
                    count(&happened.throttled);
                    throttle(Some(Duration::from_millis(300)))
                }
                _ => {
                    arrivals.arrived(record, &checker);
                    Verdict::Delivered
                }
            };
            Ok(records.iter().map(verdict).collect())
        }
    });
    Arc::new(target.taking(clock, Duration::from_millis(3)))
}

/// One run. Answers the violations that were found.
async fn run(seed: u64, ordered: bool, planted: bool) -> Vec<String> {
    let world = World::ordered(ordered);
    let (checker, happened, dice) = (Arc::new(Checker::default()), Arc::new(Happened::default()), Random::seeded(seed));
    let target = moody(seed, &world.clock, &checker, &happened);
    let mut rules = policy();
    rules.retry.jitter = Jitter::Full;
    // In order nothing is given up: a redrive goes to the end of its key.
    rules.retry.max_attempts = if ordered { 0 } else { 2 };
    let mut worker = world.start(pipeline(1, &target), rules.clone()).await;
    let mut violations = Vec::new();
    for step in 0..400_u64 {
        worker.shared.plant_settled_first.store(planted, Ordering::Relaxed);
        match dice.below(40) {
            0..20 => append(&world, &dice, &checker).await,
            20 => {
                count(&happened.swaps);
                match dice.below(3) {
                    0 => worker.swap(pipeline(step, &target)),
                    1 => worker.swap(with_transform(step, ScriptedTransform::each(|_| Outcome::Pass), &target)),
                    _ => worker.swap(with_transform(step, splits(), &target)),
                };
            }
            21 => {
                // As after kill -9: what was in flight is handed out again.
                count(&happened.restarts);
                worker.shared.cancel();
                world.settle().await;
                world.queue.end_leases();
                worker = world.start(pipeline(step, &target), rules.clone()).await;
            }
            22 => {
                count(&happened.refused);
                world.queue.refuse_settlements(true);
                world.pass(dice.below(3_000)).await;
                world.queue.refuse_settlements(false);
            }
            23 => worker.pause(PauseReason::Operator),
            24..26 => worker.resume(),
            26 => redrive(&world, &happened).await,
            _ => world.pass(dice.below(400)).await,
        }
        violations.extend(checker.violations(&world.stats().accounting));
        if !violations.is_empty() {
            return violations;
        }
    }
    // Now all is well: everything must arrive.
    worker.swap(pipeline(u64::MAX, &target));
    worker.resume();
    target.rewrite({
        let (checker, mut arrivals) = (checker.clone(), Arrivals::default());
        move |record| {
            arrivals.arrived(record, &checker);
            Verdict::Delivered
        }
    });
    for _ in 0..20 {
        world.pass(20_000).await;
        redrive(&world, &happened).await;
    }
    violations.extend(checker.violations(&world.stats().accounting));
    violations.extend(checker.missing().iter().map(|id| format!("{id} is missing")));
    let accounting = world.stats().accounting;
    if accounting.delivered != accounting.accepted {
        violations.push(format!("not everything drained: {accounting:?}, {:?}", worker.status()));
    }
    let Happened { down, failed, throttled, faults, swaps, restarts, refused, redriven } = &*happened;
    let mut all = vec![down, failed, throttled, faults, swaps, restarts, refused];
    if ordered {
        violations.extend(checker.out_of_order().iter().map(|key| format!("I19: {key:?} arrived out of order")));
    } else {
        all.push(redriven);
    }
    assert!(
        all.iter().all(|times| times.load(Ordering::Relaxed) > 0),
        "seed {seed}: not everything happened: {happened:?}"
    );
    violations
}

async fn append(world: &World, dice: &Random, checker: &Checker) {
    let mut builder = BatchBuilder::default();
    let count = 1 + dice.below(20) as usize;
    for _ in 0..count {
        let (key, value) = (format!("k{}", dice.below(30)), dice.next_u64().to_string());
        builder.record(Some(key.as_bytes()), &walhost_core::Headers::default(), value.as_bytes());
    }
    let batch = builder.build().expect("some");
    let parts: Vec<_> = (0..count).map(|place| batch.parts(place)).collect();
    let ids = world.queue.append(batch).await.expect("room").ids;
    for (id, (key, _, value)) in ids.iter().zip(&parts) {
        checker.accepted(id, Some(key), value);
    }
}

async fn redrive(world: &World, happened: &Happened) {
    let ids: Vec<_> = world.letters().await.into_iter().map(|letter| letter.id).collect();
    let moved = world.queue.redrive(&ids).await.expect("the target is subscribed");
    happened.redriven.fetch_add(moved, Ordering::Relaxed);
}

#[test]
fn i12_i19_nothing_is_lost_and_keys_keep_their_order_whatever_goes_wrong() {
    for seed in 0..6 {
        simulate(async move {
            let violations = run(seed, seed % 2 == 0, false).await;
            assert!(violations.is_empty(), "seed {seed}: {violations:?}");
        });
    }
}

#[test]
fn the_checker_finds_the_planted_bug_settled_before_delivered() {
    simulate(async {
        let violations = run(1, false, true).await;
        assert!(violations.iter().any(|violation| violation.contains("lost")), "{violations:?}");
    });
}

#[test]
fn one_seed_gives_one_run() {
    let trace = |seed| {
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let kept = seen.clone();
        simulate(async move {
            let world = World::new();
            let (checker, happened) = (Arc::new(Checker::default()), Arc::new(Happened::default()));
            let target = moody(seed, &world.clock, &checker, &happened);
            let _worker = world.start(pipeline(1, &target), policy()).await;
            let dice = Random::seeded(seed);
            for _ in 0..50 {
                append(&world, &dice, &checker).await;
                world.pass(dice.below(400)).await;
            }
            kept.lock().clone_from(&world.heard.records.lock());
        });
        let seen = seen.lock();
        seen.clone()
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}
