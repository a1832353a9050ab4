//! Batches through scripted transforms and targets.

use super::*;
use std::sync::Arc;
use walhost_core::testkit::drive::drive;
use walhost_core::testkit::scripted::{fault, record_failure, reject, target_failure};
use walhost_core::testkit::target_suite::plain;
use walhost_core::testkit::{Scripted, ScriptedTransform};

struct Nothing;
impl Hints for Nothing {
    fn is_confirmed(&self, _: &Record, _: usize, _: usize) -> bool {
        false
    }
}

/// These outputs (from 0) of every record are confirmed.
struct Known(Vec<usize>);
impl Hints for Known {
    fn is_confirmed(&self, _: &Record, _: usize, output: usize) -> bool {
        self.0.contains(&output)
    }
}

fn records(count: usize) -> Vec<Record> {
    (0..count).map(plain).collect()
}

fn output(text: &str) -> Output {
    Output { key: None, headers: walhost_core::Headers::default(), value: text.to_owned().into() }
}

fn pipeline(transform: Option<ScriptedTransform>, target: Scripted) -> (Pipeline, Arc<Scripted>) {
    let target = Arc::new(target);
    let transform = transform.map(|transform| Arc::new(transform) as Arc<dyn walhost_core::Transform>);
    (Pipeline { generation: 1, transform, target: Some(target.clone()) }, target)
}

fn said(ran: &Ran) -> Vec<&'static str> {
    let word = |answer: &Answer| match answer.said {
        Said::Delivered => "delivered",
        Said::Filtered => "filtered",
        Said::Nothing => "nothing",
        Said::Retry(..) => "retry",
        Said::Throttle(..) => "throttle",
        Said::Pause(_) => "pause",
        Said::Reject(_) => "reject",
    };
    ran.answers.iter().map(word).collect()
}

fn breaks_on(guilty: &'static [&'static str]) -> Scripted {
    Scripted::calls_answered(move |records| {
        if records.iter().any(|record| guilty.contains(&record.id.as_str())) {
            return Err(fault("plugin-trap"));
        }
        Ok(records.iter().map(|_| Verdict::Delivered).collect())
    })
}

#[test]
fn after_a_fault_the_guilty_record_ends_alone_with_the_code_and_the_others_are_delivered() {
    let (pipeline, target) = pipeline(None, breaks_on(&["suite-5"]));
    let ran = drive(run(&pipeline, &records(16), &Nothing, 5), || {});
    for (place, answer) in ran.answers.iter().enumerate() {
        match &answer.said {
            Said::Retry(failure, None) if place == 5 => {
                assert_eq!((failure.code.as_str(), failure.blame), ("plugin-trap", Blame::Record));
                assert_eq!(answer.digest, Some(Digest([9; 32])), "the plugin that failed");
            }
            said => assert_eq!((place != 5, said), (true, &Said::Delivered)),
        }
    }
    assert_eq!((ran.faults, ran.fault_code.as_deref()), (5, Some("plugin-trap")), "16, 8, 4, 2, 1");
    assert!(target.delivered().values().all(|times| *times == 1), "nothing is sent twice");
}

#[test]
fn a_fault_of_the_transform_is_halved_too_and_the_target_sees_the_rest_once() {
    let transform = ScriptedTransform::calls_answered(|records| {
        if records.iter().any(|record| record.id.as_str() == "suite-0") {
            return Err(fault("plugin-memory"));
        }
        Ok(records.iter().map(|_| Outcome::Pass).collect())
    });
    let (pipeline, target) = pipeline(Some(transform), Scripted::delivering());
    let ran = drive(run(&pipeline, &records(4), &Nothing, 5), || {});
    assert_eq!(said(&ran), ["retry", "delivered", "delivered", "delivered"]);
    assert_eq!(target.calls().len(), 1);
    assert_eq!(target.calls()[0].ids(), ["suite-1", "suite-2", "suite-3"]);
}

#[test]
fn i34_where_everything_breaks_the_rest_is_given_back_untried() {
    let target = Scripted::calls_answered(|_| Err(fault("plugin-deadline")));
    let (pipeline, target) = pipeline(None, target);
    let ran = drive(run(&pipeline, &records(128), &Nothing, 5), || {});
    let guilty = said(&ran).iter().filter(|word| **word == "retry").count();
    assert_eq!((guilty, said(&ran).iter().filter(|word| **word == "nothing").count()), (5, 123));
    assert!(target.calls().len() < 25, "{} calls, each may last a deadline", target.calls().len());
}

#[test]
fn several_outputs_have_their_own_ids_and_one_keeps_the_records() {
    let transform = ScriptedTransform::each(|record| match record.id.as_str() {
        "suite-0" => Outcome::Emit(vec![output("a"), output("b"), output("c")]),
        "suite-1" => Outcome::Emit(vec![output("d")]),
        "suite-2" => Outcome::Filter,
        _ => Outcome::Pass,
    });
    let (pipeline, target) = pipeline(Some(transform), Scripted::delivering());
    let ran = drive(run(&pipeline, &records(4), &Nothing, 5), || {});
    assert_eq!(said(&ran), ["delivered", "delivered", "filtered", "delivered"]);
    assert_eq!(target.calls()[0].ids(), ["suite-0.1", "suite-0.2", "suite-0.3", "suite-1", "suite-3"]);
    assert_eq!(target.calls()[0].records[1].value, "b");
    assert_eq!(target.calls()[0].records[4], records(4)[3], "a pass changes nothing");
}

#[test]
fn a_record_is_delivered_when_all_its_outputs_are_and_the_worst_verdict_is_its_own() {
    let transform = ScriptedTransform::each(|_| Outcome::Emit(vec![output("a"), output("b"), output("c")]));
    let target = Scripted::each(|record| match record.id.as_str() {
        "suite-0.2" => record_failure("http-500"),
        "suite-1.1" => target_failure("connect"),
        "suite-1.3" => reject("http-400"),
        _ => Verdict::Delivered,
    });
    let (pipeline, _) = pipeline(Some(transform), target);
    let ran = drive(run(&pipeline, &records(3), &Nothing, 5), || {});
    assert_eq!(said(&ran), ["retry", "reject", "delivered"]);
    let sent = ran.sent.expect("there was a transform");
    assert_eq!(sent.confirmed(0).collect::<Vec<_>>(), [(0, 3), (2, 3)]);
}

#[test]
fn what_was_confirmed_before_is_left_out_and_keeps_its_number() {
    let transform = ScriptedTransform::each(|_| Outcome::Emit(vec![output("a"), output("b"), output("c")]));
    let (pipeline, target) = pipeline(Some(transform), Scripted::delivering());
    let ran = drive(run(&pipeline, &records(1), &Known(vec![0, 2]), 5), || {});
    assert_eq!(target.calls()[0].ids(), ["suite-0.2"]);
    assert_eq!(said(&ran), ["delivered"]);
    let ran = drive(run(&pipeline, &records(1), &Known(vec![0, 1, 2]), 5), || {});
    assert_eq!((said(&ran), target.calls().len()), (vec!["delivered"], 1), "all of it was: nothing is sent");
}

#[test]
fn a_fault_of_the_sink_is_halved_by_records_and_not_by_outputs() {
    let transform = ScriptedTransform::each(|record| match record.id.as_str() {
        "suite-1" => Outcome::Filter,
        _ => Outcome::Emit(vec![output("a"), output("b")]),
    });
    let (pipeline, _) = pipeline(Some(transform), breaks_on(&["suite-2.2"]));
    let ran = drive(run(&pipeline, &records(4), &Nothing, 5), || {});
    assert_eq!(said(&ran), ["delivered", "filtered", "retry", "delivered"]);
}

#[test]
fn the_digest_is_of_the_plugin_that_failed_else_the_transforms_else_the_sinks() {
    let (of_transform, of_sink) = (Digest([1; 32]), Digest([2; 32]));
    let refuses = |record: &Record| match record.id.as_str() {
        "suite-0" => Outcome::Reject(Failure::new("bad", "", Blame::Record)),
        _ => Outcome::Pass,
    };
    let sink =
        || Scripted::each(|record| if record.id.as_str() == "suite-1" { reject("no") } else { Verdict::Delivered });
    let digests = |pipeline: &Pipeline| {
        let ran = drive(run(pipeline, &records(3), &Nothing, 5), || {});
        ran.answers.iter().map(|answer| answer.digest).collect::<Vec<_>>()
    };
    let (both, _) =
        pipeline(Some(ScriptedTransform::each(refuses).with_digest(of_transform)), sink().with_digest(of_sink));
    assert_eq!(digests(&both), [Some(of_transform), Some(of_sink), Some(of_transform)]);
    let (plain_target, _) = pipeline(Some(ScriptedTransform::each(refuses).with_digest(of_transform)), sink());
    assert_eq!(digests(&plain_target), [Some(of_transform); 3]);
    let (sink_only, _) = pipeline(None, sink().with_digest(of_sink));
    assert_eq!(digests(&sink_only), [Some(of_sink); 3]);
}
