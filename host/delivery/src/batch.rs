//! Runs one batch through its pipeline: transform, then target, each tried again in halves after a fault.
//!
//! In: the records of one batch and the pipeline that it was given. Out: one answer for each record, and
//! what was sent. Nothing here knows leases, time or settlements.

use crate::halving::Halving;
use crate::pipeline::Pipeline;
use crate::plan::{Answer, Said};
use std::ops::Range;
use walhost_core::transform::Output;
use walhost_core::{Blame, Digest, Failure, Fault, Outcome, Record, Target, Verdict};

/// What is known of outputs that earlier attempts have sent, and how many guilty records end the halving.
pub trait Hints: Sync {
    /// True when this output (from 0) of a record with so many was confirmed before, through this pipeline.
    fn is_confirmed(&self, record: &Record, outputs: usize, output: usize) -> bool;
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Ran {
    /// One for each record, in order.
    pub answers: Vec<Answer>,
    /// What was handed to the target; none: the records themselves.
    pub sent: Option<Sent>,
    /// Calls that broke.
    pub faults: u32,
    /// Code of the last of them.
    pub fault_code: Option<String>,
}

/// What a transform made of the records, without what was confirmed before.
#[derive(Debug, Default)]
pub struct Sent {
    /// All outputs, one record's after another's.
    pub outputs: Vec<Record>,
    /// Of each record, its part of `outputs`.
    pub parts: Vec<Range<usize>>,
    /// Of each output, its number (from 0) among its record's and how many those were.
    numbers: Vec<(usize, usize)>,
    /// Of each output, whether it was confirmed by this batch.
    confirmed: Vec<bool>,
}

impl Sent {
    /// Outputs (from 0) of the record at `place` that this batch has confirmed, with how many it had in all.
    pub fn confirmed(&self, place: usize) -> impl Iterator<Item = (usize, usize)> {
        self.parts[place].clone().filter(|output| self.confirmed[*output]).map(|output| self.numbers[output])
    }
}

/// Runs it. After `guilty_max` guilty records (0: no bound) with nothing that went well before them, the rest
/// is given back untried: the breaker is about to open (I34).
pub async fn run(pipeline: &Pipeline, records: &[Record], hints: &dyn Hints, guilty_max: usize) -> Ran {
    let Some(target) = &pipeline.target else {
        let nothing = Answer { said: Said::Nothing, digest: None };
        return Ran { answers: vec![nothing; records.len()], ..Ran::default() };
    };
    let digest = pipeline.digest();
    let mut ran = Ran::default();
    if pipeline.transform.is_none() {
        let parts: Vec<Range<usize>> = Vec::new();
        ran.answers = vec![Answer { said: Said::Nothing, digest }; records.len()];
        let mut faults = Faults::new(guilty_max);
        let mut verdicts = Verdicts { digest, of_sink: target.digest(), parts: &parts, confirmed: None };
        deliver(&**target, records, records.len(), &mut verdicts, &mut ran.answers, &mut faults).await;
        (ran.faults, ran.fault_code) = (faults.count, faults.code);
        return ran;
    }
    let mut faults = Faults::new(guilty_max);
    let outcomes = transform(pipeline, records, &mut faults, digest).await;
    let mut sent = Sent::default();
    for (record, outcome) in records.iter().zip(outcomes) {
        let begin = sent.outputs.len();
        let said = match outcome {
            Made::Answer(answer) => Some(answer),
            Made::Outputs(outputs) if outputs.is_empty() => Some(Answer { said: Said::Filtered, digest }),
            Made::Outputs(outputs) => {
                sent.outputs_of(record, outputs, hints);
                // All of it was confirmed by earlier attempts: it is delivered.
                (sent.outputs.len() == begin).then_some(Answer { said: Said::Delivered, digest })
            }
            Made::Unchanged => {
                sent.numbers.push((0, 1));
                sent.outputs.push(record.clone());
                None
            }
        };
        ran.answers.push(said.unwrap_or(Answer { said: Said::Nothing, digest }));
        sent.parts.push(begin..sent.outputs.len());
    }
    sent.confirmed = vec![false; sent.outputs.len()];
    if !sent.outputs.is_empty() {
        let Sent { outputs, parts, confirmed, .. } = &mut sent;
        let mut verdicts = Verdicts { digest, of_sink: target.digest(), parts, confirmed: Some(confirmed) };
        deliver(&**target, outputs, records.len(), &mut verdicts, &mut ran.answers, &mut faults).await;
    }
    (ran.faults, ran.fault_code) = (faults.count, faults.code);
    ran.sent = Some(sent);
    ran
}

impl Sent {
    /// Adds what the transform made of one record, but for what was confirmed before. One output keeps the
    /// record's id, several have their own.
    fn outputs_of(&mut self, record: &Record, outputs: Vec<Output>, hints: &dyn Hints) {
        let count = outputs.len();
        for (number, output) in outputs.into_iter().enumerate() {
            if count > 1 && hints.is_confirmed(record, count, number) {
                continue;
            }
            let id = if count == 1 { record.id.clone() } else { record.id.output(number + 1) };
            let Output { key, headers, value } = output;
            self.numbers.push((number, count));
            self.outputs.push(Record { id, key, headers, value, ..record.clone() });
        }
    }
}

/// Broken calls of one batch.
struct Faults {
    count: u32,
    code: Option<String>,
    guilty: usize,
    guilty_max: usize,
    went_well: bool,
}

impl Faults {
    fn new(guilty_max: usize) -> Faults {
        Faults { count: 0, code: None, guilty: 0, guilty_max, went_well: false }
    }

    fn hear(&mut self, fault: &Fault) {
        self.count += 1;
        self.code = Some(fault.code.clone());
    }

    fn enough(&self) -> bool {
        self.guilty_max > 0 && self.guilty >= self.guilty_max && !self.went_well
    }

    fn answer(&mut self, fault: Fault, digest: Option<Digest>) -> Answer {
        self.guilty += 1;
        let failure = Failure::new(&fault.code, &fault.message, Blame::Record);
        Answer { said: Said::Retry(failure, None), digest: fault.digest.or(digest) }
    }
}

/// What a transform made of one record.
enum Made {
    Unchanged,
    Outputs(Vec<Output>),
    Answer(Answer),
}

async fn transform(pipeline: &Pipeline, records: &[Record], faults: &mut Faults, digest: Option<Digest>) -> Vec<Made> {
    let transform = pipeline.transform.as_ref().expect("the caller has looked");
    let own = transform.digest();
    let untried = || Made::Answer(Answer { said: Said::Nothing, digest });
    let mut made: Vec<Made> = records.iter().map(|_| untried()).collect();
    let mut halving = Halving::new(records.len());
    while let Some(part) = halving.next_part() {
        match transform.apply(&records[part.clone()]).await {
            Ok(outcomes) => {
                assert_eq!(outcomes.len(), part.len(), "a transform answers each record of a batch");
                faults.went_well = true;
                for (place, outcome) in part.zip(outcomes) {
                    made[place] = match outcome {
                        Outcome::Pass => Made::Unchanged,
                        Outcome::Emit(outputs) => Made::Outputs(outputs),
                        Outcome::Filter => Made::Answer(Answer { said: Said::Filtered, digest: own }),
                        Outcome::Retry(failure, after) => {
                            Made::Answer(Answer { said: Said::Retry(failure, after), digest: own })
                        }
                        Outcome::Reject(failure) => Made::Answer(Answer { said: Said::Reject(failure), digest: own }),
                    };
                }
            }
            Err(fault) => {
                faults.hear(&fault);
                if let Some(guilty) = halving.broke(part) {
                    made[guilty] = Made::Answer(faults.answer(fault, own));
                    if faults.enough() {
                        break;
                    }
                }
            }
        }
    }
    made
}

/// Where verdicts go.
struct Verdicts<'a> {
    digest: Option<Digest>,
    of_sink: Option<Digest>,
    /// Of each record, its outputs; empty: each record is its own.
    parts: &'a [Range<usize>],
    confirmed: Option<&'a mut Vec<bool>>,
}

impl Verdicts<'_> {
    fn outputs(&self, place: usize) -> Range<usize> {
        self.parts.get(place).cloned().unwrap_or(place..place + 1)
    }

    /// One record's answer, of the verdicts on its outputs: the worst one.
    fn answer(&mut self, place: usize, verdicts: &mut impl Iterator<Item = Verdict>) -> Answer {
        let mut worst = Verdict::Delivered;
        for output in self.outputs(place) {
            let verdict = verdicts.next().expect("a target answers each record of a batch");
            if verdict == Verdict::Delivered {
                if let Some(confirmed) = &mut self.confirmed {
                    confirmed[output] = true;
                }
            } else if weight(&verdict) > weight(&worst) {
                worst = verdict;
            }
        }
        let said = match worst {
            Verdict::Delivered => return Answer { said: Said::Delivered, digest: self.digest },
            Verdict::Retry { failure, after } => Said::Retry(failure, after),
            Verdict::Throttle { failure, after } => Said::Throttle(failure, after),
            Verdict::Pause { failure } => Said::Pause(failure),
            Verdict::Reject { failure } => Said::Reject(failure),
        };
        Answer { said, digest: self.of_sink.or(self.digest) }
    }
}

/// Which of two verdicts on outputs of one record counts. A reject: it can never be delivered whole. Then
/// what holds the whole target, then what may be the record's own.
fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Delivered => 0,
        Verdict::Retry { failure, .. } => 1 + u8::from(failure.blame == Blame::Record),
        Verdict::Throttle { .. } => 3,
        Verdict::Pause { .. } => 4,
        Verdict::Reject { .. } => 5,
    }
}

async fn deliver(
    target: &dyn Target,
    outputs: &[Record],
    records: usize,
    verdicts: &mut Verdicts<'_>,
    answers: &mut [Answer],
    faults: &mut Faults,
) {
    // Only records that have something to send are halved: the others have their answer.
    let waiting: Vec<usize> = if verdicts.parts.is_empty() {
        Vec::new()
    } else {
        (0..records).filter(|place| !verdicts.outputs(*place).is_empty()).collect()
    };
    let (all, count) = if waiting.is_empty() { (None, records) } else { (Some(&waiting), waiting.len()) };
    let place_of = |part: usize| all.map_or(part, |waiting| waiting[part]);
    let mut halving = Halving::new(count);
    faults.went_well = false;
    while let Some(part) = halving.next_part() {
        let range = verdicts.outputs(place_of(part.start)).start..verdicts.outputs(place_of(part.end - 1)).end;
        match target.deliver(&outputs[range.clone()]).await {
            Ok(said) => {
                assert_eq!(said.len(), range.len(), "a target answers each record of a batch");
                faults.went_well = true;
                let mut said = said.into_iter();
                for place in part.map(place_of) {
                    answers[place] = verdicts.answer(place, &mut said);
                }
            }
            Err(fault) => {
                faults.hear(&fault);
                if let Some(guilty) = halving.broke(part) {
                    answers[place_of(guilty)] = faults.answer(fault, verdicts.of_sink.or(verdicts.digest));
                    if faults.enough() {
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
