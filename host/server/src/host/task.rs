//! Tasks: a redrive that runs beside everything else, can be watched and cancelled, and is remembered.
//!
//! In: a filter, a rate, a cap. Out: moved, failed, remaining, as they grow.

use super::Host;
use crate::http::error::{Code, Problem};
use crate::http::show::{time, time_or_null};
use crate::limits::{REDRIVE_CHUNK, TASKS_KEPT_MAX};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use walhost_core::inspect::{DeadLetterFilter, DeadLetterId};
use walhost_core::{Digest, Error, NamespaceName, Queue, TargetName, exec, limits};

/// Kind of a task that moves dead letters.
const REDRIVE: &str = "redrive";
/// Kind of one that only counts them.
const DRY_RUN: &str = "redrive-dry-run";

/// One task, as it is shown and remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: String,
    /// `redrive` or `redrive-dry-run`.
    pub kind: String,
    /// Where.
    pub namespace: NamespaceName,
    /// How it stands.
    pub state: TaskState,
    /// Dead letters that the filter matched when it began.
    pub matched: u64,
    /// Appended again.
    pub moved: u64,
    /// Could not be moved.
    pub failed: u64,
    /// Of the matched.
    pub remaining: u64,
    /// At most so many a second.
    pub rate_per_second: Option<u64>,
    /// At most so many.
    pub max: Option<u64>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Which dead letters, so that it can go on after the host has stopped; none: it cannot.
    #[serde(default)]
    pub filter: Option<KeptFilter>,
    /// In milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// In milliseconds since the Unix epoch.
    pub ended_at_ms: Option<u64>,
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It moves records.
    Running,
    /// All that was matched was tried.
    Done,
    /// It ended before.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

/// A filter of dead letters, as it is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptFilter {
    target: Option<TargetName>,
    code: Option<String>,
    since_ms: Option<u64>,
    until_ms: Option<u64>,
    digest: Option<String>,
    ids: Option<Vec<String>>,
}

impl KeptFilter {
    fn of(filter: &DeadLetterFilter) -> KeptFilter {
        let ids = filter.ids.as_ref().map(|ids| ids.iter().map(|id| id.0.clone()).collect());
        let digest = filter.digest.map(|digest| digest.to_string());
        let DeadLetterFilter { target, code, since_ms, until_ms, .. } = filter.clone();
        KeptFilter { target, code, since_ms, until_ms, digest, ids }
    }

    /// None when it cannot be read: what is not understood is not moved.
    fn filter(self) -> Option<DeadLetterFilter> {
        let ids = self.ids.map(|ids| ids.into_iter().map(DeadLetterId).collect());
        let digest = match self.digest {
            Some(text) => Some(Digest::parse(&text)?),
            None => None,
        };
        let KeptFilter { target, code, since_ms, until_ms, .. } = self;
        Some(DeadLetterFilter { target, code, since_ms, until_ms, digest, ids })
    }
}

impl Task {
    /// So many are to be moved now; the others that it matched when it was begun before were moved then.
    fn begin(&mut self, found: u64) {
        self.matched = self.matched.max(found);
        self.moved = self.matched - found;
        (self.remaining, self.failed) = (found, 0);
    }

    /// What is left to do of it; none: that is not known. What the cap let through and what it did not cannot
    /// be told apart afterwards.
    fn left(&self) -> Option<Redrive> {
        let capped = self.max.is_some_and(|max| self.matched >= max || self.matched == 0);
        let filter = self.filter.clone().filter(|_| !capped)?.filter()?;
        let (rate_per_second, max) = (self.rate_per_second, self.max);
        Some(Redrive { filter, rate_per_second, max, dry_run: self.kind == DRY_RUN })
    }

    /// In the contract's shape.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "kind": self.kind,
            "namespace": self.namespace,
            "state": self.state,
            "matched": self.matched,
            "moved": self.moved,
            "failed": self.failed,
            "remaining": self.remaining,
            "rate": self.rate_per_second.map(|rate| format!("{rate}/s")),
            "max": self.max,
            "error": self.error,
            "started_at": time(self.started_at_ms),
            "ended_at": time_or_null(self.ended_at_ms),
        })
    }
}

/// Tasks that run, beside those that the catalogue remembers.
#[derive(Default)]
pub struct Tasks {
    running: Mutex<HashMap<String, Live>>,
}

/// A task that runs: what it shows, and how it is ended.
type Live = (Arc<Mutex<Task>>, CancellationToken);

/// What a redrive is to do.
#[derive(Clone, Debug, Default)]
pub struct Redrive {
    /// Which.
    pub filter: DeadLetterFilter,
    /// At most so many a second.
    pub rate_per_second: Option<u64>,
    /// At most so many.
    pub max: Option<u64>,
    /// Count only.
    pub dry_run: bool,
}

impl Host {
    /// Tasks that ran when the host stopped go on, from what their filter still matches: no dead letter is moved
    /// twice, and what died since their start is not theirs. Those of which that is not known have failed.
    pub async fn resume_interrupted_tasks(self: &Arc<Host>) -> Result<(), Problem> {
        let interrupted: Vec<Task> =
            self.catalogue.state().tasks.iter().filter(|task| task.state == TaskState::Running).cloned().collect();
        for mut task in interrupted {
            let running = self.directory.load().kept(task.namespace.as_str()).ok().cloned();
            match (task.left(), running) {
                (Some(redrive), Some(running)) => {
                    tracing::info!(task = task.id, namespace = %task.namespace, "a redrive that the host's end interrupted goes on");
                    self.spawn_redrive(running.queue(), redrive, task);
                }
                _ => {
                    task.state = TaskState::Failed;
                    task.ended_at_ms = Some(self.clock.now_ms());
                    task.error = Some("the host stopped while it ran; its counts are those of its start. Redrive again: no dead letter is moved twice".to_owned());
                    self.remember_task(&task).await?;
                }
            }
        }
        Ok(())
    }

    /// Begins a redrive; answers its task's name.
    pub async fn begin_redrive(self: &Arc<Host>, namespace: &str, mut redrive: Redrive) -> Result<String, Problem> {
        let running = Arc::clone(self.directory.load().kept(namespace)?);
        let now_ms = self.clock.now_ms();
        // What dies again while the task runs is not taken again.
        redrive.filter.until_ms = Some(redrive.filter.until_ms.map_or(now_ms + 1, |until| until.min(now_ms + 1)));
        let id = format!("{:012x}", self.random.next_u64() >> 16);
        let task = Task {
            id: id.clone(),
            kind: if redrive.dry_run { DRY_RUN } else { REDRIVE }.to_owned(),
            namespace: running.name().clone(),
            state: TaskState::Running,
            matched: 0,
            moved: 0,
            failed: 0,
            remaining: 0,
            rate_per_second: redrive.rate_per_second,
            max: redrive.max,
            error: None,
            filter: Some(KeptFilter::of(&redrive.filter)),
            started_at_ms: now_ms,
            ended_at_ms: None,
        };
        self.remember_task(&task).await?;
        self.spawn_redrive(running.queue(), redrive, task);
        Ok(id)
    }

    fn spawn_redrive(self: &Arc<Host>, queue: &Arc<dyn Queue>, redrive: Redrive, task: Task) {
        let (host, queue, cancel) = (Arc::clone(self), Arc::clone(queue), CancellationToken::new());
        let id = task.id.clone();
        let task = Arc::new(Mutex::new(task));
        self.tasks.running.lock().insert(id, (Arc::clone(&task), cancel.clone()));
        exec::task(async move { host.run_redrive(queue, redrive, task, cancel).await });
    }

    async fn run_redrive(
        self: Arc<Host>,
        queue: Arc<dyn Queue>,
        redrive: Redrive,
        task: Arc<Mutex<Task>>,
        cancel: CancellationToken,
    ) {
        let outcome = self.redrive(&*queue, &redrive, &task, &cancel).await;
        if self.drain.has_begun() && !cancel.is_cancelled() && task.lock().remaining > 0 {
            // It is remembered as running, and goes on at the next start.
            return;
        }
        let ended = {
            let mut task = task.lock();
            (task.state, task.error) = match outcome {
                Ok(()) if cancel.is_cancelled() => (TaskState::Cancelled, None),
                Ok(()) => (TaskState::Done, None),
                Err(error) => (TaskState::Failed, Some(error.detail().to_owned())),
            };
            task.ended_at_ms = Some(self.clock.now_ms());
            task.clone()
        };
        tracing::info!(task = ended.id, namespace = %ended.namespace, moved = ended.moved, failed = ended.failed, state = ?ended.state, "a redrive ended");
        if let Err(problem) = self.remember_task(&ended).await {
            tracing::error!(task = ended.id, "the end of a task could not be kept: {}", problem.detail);
        }
        self.tasks.running.lock().remove(&ended.id);
    }

    async fn redrive(
        &self,
        queue: &dyn Queue,
        redrive: &Redrive,
        task: &Mutex<Task>,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let max = redrive.max.unwrap_or(u64::MAX);
        let ids = matching(queue, &redrive.filter, max, cancel).await?;
        let begun = {
            let mut task = task.lock();
            task.begin(ids.len() as u64);
            task.clone()
        };
        if redrive.dry_run {
            return Ok(());
        }
        // How many there were tells after a crash how many had been moved.
        if let Err(problem) = self.remember_task(&begun).await {
            tracing::warn!(task = begun.id, "how far a task is could not be kept: {}", problem.detail);
        }
        let chunk = redrive
            .rate_per_second
            .map_or(REDRIVE_CHUNK, |rate| usize::try_from(rate / 10).unwrap_or(REDRIVE_CHUNK).clamp(1, REDRIVE_CHUNK));
        for part in ids.chunks(chunk) {
            if cancel.is_cancelled() || self.drain.has_begun() {
                return Ok(());
            }
            // One that cannot be moved (its target is gone) does not keep the others.
            let (moved, failed) = match queue.redrive(part).await {
                Ok(moved) => (moved, 0),
                Err(_) => one_by_one(queue, part).await,
            };
            let count = part.len() as u64;
            {
                let mut task = task.lock();
                task.moved += moved;
                task.failed += failed;
                task.remaining = task.remaining.saturating_sub(count);
            }
            if let Some(rate) = redrive.rate_per_second {
                let pause = Duration::from_micros(count.saturating_mul(1_000_000) / rate.max(1));
                tokio::select! {
                    () = self.clock.sleep(pause) => {}
                    () = cancel.cancelled() => {}
                }
            }
        }
        Ok(())
    }

    async fn remember_task(&self, task: &Task) -> Result<(), Problem> {
        self.catalogue
            .change(|state| {
                match state.tasks.iter_mut().find(|known| known.id == task.id) {
                    Some(known) => known.clone_from(task),
                    None => state.tasks.push(task.clone()),
                }
                let spare = state.tasks.len().saturating_sub(TASKS_KEPT_MAX);
                state.tasks.drain(..spare);
                Ok(())
            })
            .await
    }

    /// All tasks, the newest first.
    pub fn list_tasks(&self) -> Vec<Task> {
        let running = self.tasks.running.lock();
        let mut tasks = self.catalogue.state().tasks.clone();
        for task in &mut tasks {
            if let Some((now, _)) = running.get(&task.id) {
                task.clone_from(&now.lock());
            }
        }
        tasks.reverse();
        tasks
    }

    /// One task.
    pub fn task(&self, id: &str) -> Result<Task, Problem> {
        self.list_tasks()
            .into_iter()
            .find(|task| task.id == id)
            .ok_or_else(|| Problem::new(Code::NotFound, "there is no such task"))
    }

    /// Ends a task; one that has ended stays as it is.
    pub fn cancel_task(&self, id: &str) -> Result<Task, Problem> {
        if let Some((_, cancel)) = self.tasks.running.lock().get(id) {
            cancel.cancel();
        }
        self.task(id)
    }

    /// Removes dead letters for good, when there are as many as their operator expects.
    pub async fn purge(&self, namespace: &str, filter: &DeadLetterFilter, expect_count: u64) -> Result<u64, Problem> {
        let running = Arc::clone(self.directory.load().kept(namespace)?);
        let ids = matching(&**running.queue(), filter, u64::MAX, &CancellationToken::new()).await?;
        if ids.len() as u64 != expect_count {
            let detail = format!("{} dead letters match, {expect_count} were expected; nothing was purged", ids.len());
            return Err(Problem::new(Code::Conflict, detail));
        }
        let mut purged = 0;
        for part in ids.chunks(REDRIVE_CHUNK) {
            purged += running.queue().purge(part).await?;
        }
        Ok(purged)
    }
}

/// Moved and failed; what is gone by now is neither.
async fn one_by_one(queue: &dyn Queue, part: &[DeadLetterId]) -> (u64, u64) {
    let (mut moved, mut failed) = (0, 0);
    for id in part {
        match queue.redrive(std::slice::from_ref(id)).await {
            Ok(count) => moved += count,
            Err(error) => {
                failed += 1;
                tracing::warn!("a dead letter could not be redriven: {error}");
            }
        }
    }
    (moved, failed)
}

/// Ids of the dead letters that match, oldest first.
async fn matching(
    queue: &dyn Queue,
    filter: &DeadLetterFilter,
    max: u64,
    cancel: &CancellationToken,
) -> Result<Vec<DeadLetterId>, Error> {
    let mut ids = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = queue.dead_letters(filter, cursor.as_deref(), limits::PAGE_MAX).await?;
        let room = max.saturating_sub(ids.len() as u64);
        ids.extend(page.items.into_iter().map(|letter| letter.id).take(usize::try_from(room).unwrap_or(usize::MAX)));
        cursor = page.next;
        if cursor.is_none() || ids.len() as u64 >= max || cancel.is_cancelled() {
            return Ok(ids);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn task(max: Option<u64>) -> Task {
        let filter = DeadLetterFilter {
            code: Some("http-400".into()),
            ids: Some(vec![DeadLetterId("1".into())]),
            ..Default::default()
        };
        Task {
            id: "t".into(),
            kind: REDRIVE.into(),
            namespace: NamespaceName::new("a").unwrap(),
            state: TaskState::Running,
            matched: 0,
            moved: 0,
            failed: 0,
            remaining: 0,
            rate_per_second: Some(5),
            max,
            error: None,
            filter: Some(KeptFilter::of(&filter)),
            started_at_ms: 0,
            ended_at_ms: None,
        }
    }

    #[test]
    fn what_is_left_of_a_task_survives_the_catalogue() {
        let text = serde_json::to_string(&task(None)).unwrap();
        let left = serde_json::from_str::<Task>(&text).unwrap().left().unwrap();
        assert_eq!(
            (left.filter.code.as_deref(), left.rate_per_second, left.dry_run),
            (Some("http-400"), Some(5), false)
        );
        assert_eq!(left.filter.ids, Some(vec![DeadLetterId("1".into())]));
    }

    #[test]
    fn a_task_whose_cap_was_reached_is_not_begun_again() {
        let mut capped = task(Some(10));
        assert!(capped.left().is_none(), "how many it had matched is not known");
        capped.begin(10);
        assert!(capped.left().is_none());
        capped.matched = 9;
        assert!(capped.left().is_some());
        capped.filter = None;
        assert!(capped.left().is_none());
    }

    #[test]
    fn what_was_moved_before_the_crash_is_counted() {
        let mut task = task(None);
        task.begin(10);
        assert_eq!((task.matched, task.moved, task.remaining), (10, 0, 10));
        task.begin(4);
        assert_eq!((task.matched, task.moved, task.remaining), (10, 6, 4));
    }
}
